package hsm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// PINMarker remembers across restarts that a PIN is being tried, or was refused, so
// that no command of ours tries a wrong one twice (invariant 9). All commands that log
// in to the same token share its Path:
//
//	Path         {"token", "serial", "since", "state"}: stands from before C_Login until it succeeded
//	Path.proven  {"serial", "source", "since"}: the latest login that succeeded, and the identity of its PIN's source
//	Path.lock    held (flock) from the decision to log in until its outcome is on disk
//
// None of them holds anything of the PIN. All are written with mode 0600, and are durable before
// what they announce is done.
type PINMarker struct {
	// Path of the marker; its directory must exist. Left out, nothing outlives the value:
	// for tests and for tokens that are thrown away.
	Path string

	mu  sync.Mutex // mem, where Path is left out
	mem map[string][]byte
}

type pinRecord struct {
	Token  string    `json:"token"`
	Serial string    `json:"serial,omitempty"`
	Since  time.Time `json:"since"`
	State  pinState  `json:"state"`
}

type pinProof struct {
	Serial string    `json:"serial"`
	Source string    `json:"source"`
	Since  time.Time `json:"since"`
}

const (
	provenSuffix = ".proven"
	lockSuffix   = ".lock"
)

// facts reads the marker and the proof. A file that cannot be read or understood is an error, and
// then nobody logs in.
func (m *PINMarker) facts() (pinFacts, error) {
	var r pinRecord
	if err := m.read("", &r); err != nil {
		return pinFacts{}, fmt.Errorf("read the PIN marker: %w", err)
	}
	var p pinProof
	if err := m.read(provenSuffix, &p); err != nil {
		return pinFacts{}, fmt.Errorf("read the record of the latest login: %w", err)
	}
	return pinFacts{state: r.State, since: r.Since, provenSerial: p.Serial, provenSource: p.Source}, nil
}

// ProvenSerial returns the serial number of the token that the latest login which
// succeeded was to, or "" if there was none.
func (m *PINMarker) ProvenSerial() (string, error) {
	f, err := m.facts()
	return f.provenSerial, err
}

// Allow permits one more login to token, whatever is held against one: for a person who
// has corrected the PIN while no daemon runs. Token.RetryPIN is for when one does. The permit
// lasts until it is used.
func (m *PINMarker) Allow(ctx context.Context, token string) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return m.set(token, "", pinAllowed)
}

// restore puts back what stood before an attempt that the token never looked at.
func (m *PINMarker) restore(token, serial string, f pinFacts) error {
	if f.state == pinNone {
		return m.remove()
	}
	if err := m.write("", pinRecord{Token: token, Serial: serial, Since: f.since, State: f.state}); err != nil {
		return fmt.Errorf("write the PIN marker: %w", err)
	}
	return nil
}

func (m *PINMarker) set(token, serial string, s pinState) error {
	if err := m.write("", pinRecord{Token: token, Serial: serial, Since: time.Now().UTC(), State: s}); err != nil {
		return fmt.Errorf("write the PIN marker: %w", err)
	}
	return nil
}

// accepted records the proof before the marker goes: cut off between the two, the next
// start finds a login that was cut off with a proven PIN.
func (m *PINMarker) accepted(serial, source string) error {
	if err := m.write(provenSuffix, pinProof{Serial: serial, Source: source, Since: time.Now().UTC()}); err != nil {
		return fmt.Errorf("write the record of the latest login: %w", err)
	}
	return m.remove()
}

func (m *PINMarker) remove() error {
	if m.Path == "" {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.mem, "")
		return nil
	}
	// unlink(Path), fsync(dir)
	if err := os.Remove(m.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the PIN marker: %w", err)
	}
	return syncDir(filepath.Dir(m.Path))
}

func (m *PINMarker) read(suffix string, v any) error {
	var b []byte
	if m.Path == "" {
		m.mu.Lock()
		b = m.mem[suffix]
		m.mu.Unlock()
	} else {
		var err error
		if b, err = os.ReadFile(m.Path + suffix); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		} else if len(b) == 0 {
			return fmt.Errorf("%s is empty", m.Path+suffix)
		}
	}
	if b == nil {
		return nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", m.Path+suffix, err)
	}
	return nil
}

func (m *PINMarker) write(suffix string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if m.Path == "" {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.mem == nil {
			m.mem = map[string][]byte{}
		}
		m.mem[suffix] = b
		return nil
	}
	return replaceFile(m.Path+suffix, append(b, '\n'))
}

// lock waits until no other process of ours is between its decision to log in and the
// outcome. The lock goes with the process that held it.
func (m *PINMarker) lock(ctx context.Context) (unlock func(), err error) {
	if m.Path == "" {
		return func() {}, nil
	}
	f, err := os.OpenFile(m.Path+lockSuffix, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the PIN marker: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock the PIN marker %s: %w", m.Path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("another process is logging in (%s is locked): %w", m.Path+lockSuffix, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// replaceFile makes path hold b, and is durable when it returns:
// open(path.random.tmp, O_EXCL), write, fsync, close, rename(path), open(dir), fsync, close.
// The name is new, so that nobody can have laid a link there.
func replaceFile(path string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	tmp := f.Name()
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
