package hsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// maxPIN bounds what is read as a PIN, in bytes.
const maxPIN = 4096

// FilePIN returns a Config.PIN that reads the file at path each time it is called. One
// newline at the end is not part of the PIN. A file that group or others may read, and an
// empty one, is an error.
func FilePIN(path string) func(context.Context) ([]byte, error) { return readPIN(path, 0o077) }

// CredentialPIN is FilePIN for a systemd credential (systemd.exec(5), LoadCredential=).
// Where the service has a user of its own systemd lets it read by an ACL, whose mask shows as
// the group's right to read; the directory is the service's alone.
func CredentialPIN(path string) func(context.Context) ([]byte, error) { return readPIN(path, 0o037) }

// readPIN refuses a file on whose mode one of the forbidden bits is set.
func readPIN(path string, forbidden fs.FileMode) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read the PIN: %w", err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return nil, fmt.Errorf("read the PIN: %w", err)
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("the PIN file %s is no regular file", path)
		}
		if mode := info.Mode().Perm(); mode&forbidden != 0 {
			return nil, fmt.Errorf("the PIN file %s can be read by others (mode %#o): chmod 600 %s", path, mode, path)
		}
		// Room for all of it from the start: growing would leave copies behind.
		b := make([]byte, maxPIN+1)
		n, err := io.ReadFull(f, b)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			clear(b)
			return nil, fmt.Errorf("read the PIN: %w", err)
		}
		if n > maxPIN {
			clear(b)
			return nil, fmt.Errorf("the PIN file %s is longer than %d bytes", path, maxPIN)
		}
		pin := bytes.TrimSuffix(b[:n], []byte("\n"))
		if len(pin) == 0 {
			return nil, fmt.Errorf("the PIN file %s is empty", path)
		}
		return pin, nil
	}
}

// FilePINSource returns a Config.PINSource that identifies the file at path as it is now, by where
// it lies, its length and when it last changed; never by what is in it.
func FilePINSource(path string) func() (string, error) {
	return func() (string, error) {
		info, err := os.Stat(path)
		if err != nil {
			return "", fmt.Errorf("look at the PIN file: %w", err)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return "", fmt.Errorf("look at the PIN file %s: this system does not identify files", path)
		}
		return fmt.Sprintf("%d:%d:%d:%d:%d", st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()), nil
	}
}
