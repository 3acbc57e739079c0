package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
	"keysetd.example/internal/dev"
)

// keyset of the daemon's dev configuration that signs digests.
const keyset = "raw"

// daemon is a `keysetd dev` of the benchmark's own.
type daemon struct {
	dir    string
	cmd    *exec.Cmd
	worker int
	client *client.Client
	keyIDs map[string]string // by algorithm: CKA_ID in hex, for the C loop
}

func startDaemon(ctx context.Context) (*daemon, error) {
	dir, err := os.MkdirTemp("", "keysetd-bench-")
	if err != nil {
		return nil, err
	}
	d := &daemon{dir: dir, keyIDs: map[string]string{}}
	d.cmd = exec.Command(*keysetd, "dev", "--dir", dir, "--public", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--log-level", "error")
	d.cmd.Stderr = os.Stderr
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	if err := d.ready(ctx, out); err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

// ready waits for the daemon's greeting and finds out what the contenders need.
func (d *daemon) ready(ctx context.Context, out io.Reader) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Ctrl-C") {
			break
		}
	}
	go io.Copy(io.Discard, out)
	var err error
	if d.client, err = client.Dial(filepath.Join(d.dir, "keysetd.sock")); err != nil {
		return err
	}
	state, err := d.client.Keyset(ctx, keyset)
	if err != nil {
		return err
	}
	for _, g := range state.Generations {
		for _, k := range g.Keys {
			for _, alg := range k.Algorithms {
				if g.State == "active" {
					d.keyIDs[alg] = k.ID
				}
			}
		}
	}
	d.worker, err = childOf(d.cmd.Process.Pid)
	return err
}

// childOf returns the daemon's one child, which the kernel lists under the thread that
// made it.
func childOf(parent int) (int, error) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	for _, path := range tasks {
		b, _ := os.ReadFile(path)
		if f := strings.Fields(string(b)); len(f) > 0 {
			return strconv.Atoi(f[0])
		}
	}
	return 0, errors.New("the daemon has no worker")
}

func (d *daemon) stop() {
	d.cmd.Process.Signal(syscall.SIGTERM)
	d.cmd.Wait()
	os.RemoveAll(d.dir)
}

func (d *daemon) runCLoop(ctx context.Context, alg string, threads int) (result, error) {
	mechanism := map[string]string{"ES256": "ecdsa", "RS256": "rsa"}[alg]
	module, err := dev.FindSoftHSM()
	if err != nil {
		return result{}, err
	}
	cmd := exec.CommandContext(ctx, *cloop, module, filepath.Join(d.dir, "pin"),
		mechanism, d.keyIDs[alg], strconv.Itoa(threads), fmt.Sprint(duration.Seconds()))
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+filepath.Join(d.dir, "softhsm2.conf"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return result{}, err
	}
	var r struct{ Signatures, Seconds, CPU float64 }
	if err := json.Unmarshal(out, &r); err != nil {
		return result{}, err
	}
	return result{PerSecond: r.Signatures / r.Seconds, CPUClient: r.CPU * 1e6 / r.Signatures, P50: r.Seconds * 1e6 / r.Signatures * float64(threads)}, nil
}

// runCallers has n callers ask for one signature after the other.
func (d *daemon) runCallers(ctx context.Context, alg string, n int) (result, error) {
	digest := make([]byte, 32)
	rand.Read(digest)
	encoded := base64.RawURLEncoding.EncodeToString(digest)
	latencies := make([][]time.Duration, n)
	errs := make([]error, n)
	before, err := d.cpu()
	if err != nil {
		return result{}, err
	}
	start := time.Now()
	var callers sync.WaitGroup
	for i := range n {
		callers.Go(func() {
			for time.Since(start) < *duration && errs[i] == nil {
				begun := time.Now()
				_, errs[i] = d.client.Sign(ctx, keyset, &v1.SignRequest{Alg: alg, Digest: &encoded})
				latencies[i] = append(latencies[i], time.Since(begun))
			}
		})
	}
	callers.Wait()
	elapsed := time.Since(start)
	after, err := d.cpu()
	if err = errors.Join(err, errors.Join(errs...)); err != nil {
		return result{}, err
	}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	count := float64(len(all))
	return result{
		PerSecond: count / elapsed.Seconds(),
		P50:       float64(all[len(all)/2].Nanoseconds()) / 1e3,
		P99:       float64(all[len(all)*99/100].Nanoseconds()) / 1e3,
		CPUClient: (after[0] - before[0]) / count,
		CPUDaemon: (after[1] - before[1]) / count,
		CPUWorker: (after[2] - before[2]) / count,
	}, nil
}

// cpu returns the microseconds used so far by client, daemon and worker.
func (d *daemon) cpu() (used [3]float64, err error) {
	for i, pid := range []int{os.Getpid(), d.cmd.Process.Pid, d.worker} {
		if used[i], err = cpuOf(pid); err != nil {
			return used, err
		}
	}
	return used, nil
}

// cpuOf reads utime and stime, fields 14 and 15 of proc_pid_stat(5), in ticks of 10 ms.
func cpuOf(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(b), ") ") // the name before it may hold spaces
	f := strings.Fields(rest)
	if !ok || len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is not as expected", pid)
	}
	user, err1 := strconv.ParseFloat(f[11], 64)
	system, err2 := strconv.ParseFloat(f[12], 64)
	return (user + system) * 1e4, errors.Join(err1, err2)
}
