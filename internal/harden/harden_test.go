package harden

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The measures cannot be taken back, so the test binary takes them in a child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "hardened" {
		report()
		return
	}
	os.Exit(m.Run())
}

func report() {
	fmt.Println("error:", Process())
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	fmt.Println("dumpable:", dumpable, err)
	var core unix.Rlimit
	err = unix.Getrlimit(unix.RLIMIT_CORE, &core)
	fmt.Println("core:", core.Cur, core.Max, err)
	flags, err := unix.FcntlInt(3, unix.F_GETFD, 0)
	fmt.Println("cloexec:", flags&unix.FD_CLOEXEC != 0, err)
	flags, err = unix.FcntlInt(1, unix.F_GETFD, 0)
	fmt.Println("stdout cloexec:", flags&unix.FD_CLOEXEC != 0, err)
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "NoNewPrivs") {
			fmt.Print(strings.ReplaceAll(line, "\t", " "))
		}
	}
}

func TestProcessAndStart(t *testing.T) {
	var out bytes.Buffer
	cmd := exec.Command("/proc/self/exe", "hardened")
	cmd.Stdout = &out
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	cmd.ExtraFiles = []*os.File{r}
	if err := Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	want := `error: <nil>
dumpable: 0 <nil>
core: 0 0 <nil>
cloexec: true <nil>
stdout cloexec: false <nil>
NoNewPrivs: 1
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	if n, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); n != 0 || err != nil {
		t.Errorf("Start changed this process too: %d, %v", n, err)
	}
}

func TestStartRefusesPdeathsig(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "hardened")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := Start(cmd); err == nil {
		cmd.Wait()
		t.Error("no error")
	}
}
