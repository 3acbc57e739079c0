package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// TestDevTwice starts `keysetd dev` as the README says, pastes the line it prints into
// a shell, and starts it again on what the first left.
func TestDevTwice(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "ks")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	dir = filepath.Join(dir, "it's here") // a name that a shell would stumble over
	first := runDev(t, dir)
	second := runDev(t, dir)
	if first != second {
		t.Errorf("the second start published\n%s\nthe first\n%s", second, first)
	}
	for _, name := range []string{"pin", "so-pin"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	pin, err := os.ReadFile(filepath.Join(dir, "pin"))
	if err != nil {
		t.Fatal(err)
	}
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, _ error) error {
		b, err := os.ReadFile(path)
		if err == nil && filepath.Base(path) != "pin" && bytes.Contains(b, bytes.TrimSpace(pin)) {
			t.Errorf("the PIN is in %s", path)
		}
		return nil
	})
}

// runDev runs dev until it has greeted, does what the greeting says, ends it, and
// returns the JWKS that it published.
func runDev(t *testing.T, dir string) string {
	cmd := exec.Command(keysetd, "dev", "--dir", dir, "--public", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "GORACE="+gorace)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	var greeting strings.Builder
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		greeting.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "Ctrl-C") {
			break
		}
	}
	url := regexp.MustCompile(`http://\S+jwks\.json`).FindString(greeting.String())
	line := regexp.MustCompile(`(?m)^ *curl .*$`).FindString(greeting.String())
	if url == "" || line == "" {
		t.Fatalf("no JWKS URL or no curl line in the greeting %q\n%s", greeting.String(), stderr.String())
	}
	body := string(get(t, url))
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(body), &set); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", line).Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	var reply struct{ Token, KID string }
	if err := json.Unmarshal(out, &reply); err != nil || reply.Token == "" {
		t.Fatalf("%s printed %s", line, out)
	}
	jws, err := jose.ParseSignedCompact(reply.Token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jws.Verify(set.Key(reply.KID)[0]); err != nil {
		t.Errorf("the token of the curl line does not verify: %v", err)
	}
	go io.Copy(io.Discard, stdout)
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("keysetd dev ended with %v\n%s", err, stderr.String())
	}
	return body
}
