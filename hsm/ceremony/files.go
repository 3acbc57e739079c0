package ceremony

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The files of a ceremony's directory.
const (
	certificateFile = "certificate.pem"
	requestFile     = "request.pem"
	chainFile       = "chain.pem"
	intentFile      = "intent.json"
	recordBase      = "record" // .json, .txt, .jws
	importBase      = "import" // the same
)

const (
	publicMode = 0o644 // certificates and requests
	recordMode = 0o600 // names people
)

// folder is a ceremony's directory, with the files that this ceremony has written.
type folder struct {
	dir     string
	written []string
}

// open makes the directory where it is missing, and refuses it where one of names is in it.
func open(dir string, names ...string) (*folder, error) {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the directory for the record: %w", err)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		_, err := os.Lstat(path)
		switch {
		case err == nil && name == intentFile:
			return nil, fmt.Errorf("%s stands: a ceremony was cut off here; it names the key that may have been left on the token, see to that and give another directory", path)
		case err == nil:
			return nil, fmt.Errorf("%s exists, and nothing is overwritten; give another directory", path)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("look at the directory for the record: %w", err)
		}
	}
	return &folder{dir: dir}, nil
}

// write makes a file that was not there, durable when it returns: open(O_EXCL), write, fsync, close, fsync of
// the directory.
func (f *folder) write(name string, content []byte, mode os.FileMode) error {
	path := filepath.Join(f.dir, name)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return fmt.Errorf("write the ceremony's files: %w", err)
	}
	f.written = append(f.written, path)
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close(), f.sync()); err != nil {
		return fmt.Errorf("write the ceremony's files: %w", err)
	}
	return nil
}

// writeDocument writes a document in its three forms.
func (f *folder) writeDocument(base string, text, sealed []byte, d document) error {
	for _, file := range []struct {
		suffix  string
		content []byte
	}{{".jws", sealed}, {".txt", []byte(d.Text())}, {".json", text}} {
		if err := f.write(base+file.suffix, file.content, recordMode); err != nil {
			return err
		}
	}
	return nil
}

// remove takes away one file that this ceremony wrote.
func (f *folder) remove(name string) error {
	if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
		return fmt.Errorf("remove from the ceremony's files: %w", err)
	}
	return f.sync()
}

// undo takes away all that this ceremony wrote; the directory stays.
func (f *folder) undo() error {
	var errs []error
	for _, path := range f.written {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, f.sync())...)
}

func (f *folder) sync() error {
	d, err := os.Open(f.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func encodePEM(kind string, chain ...[]byte) []byte {
	var b bytes.Buffer
	for _, der := range chain {
		pem.Encode(&b, &pem.Block{Type: kind, Bytes: der})
	}
	return b.Bytes()
}

// maxChain is how many certificates a chain may have.
const maxChain = 10

// decodePEM reads blocks of one kind, with nothing but text between them; another kind is an error, so that no
// private key gets about unnoticed.
func decodePEM(kind string, text []byte) ([][]byte, error) {
	var chain [][]byte
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != kind {
			return nil, fmt.Errorf("it holds a PEM block %q, where only %q is wanted", block.Type, kind)
		}
		chain, text = append(chain, block.Bytes), rest
	}
	if len(chain) == 0 || len(chain) > maxChain {
		return nil, fmt.Errorf("it holds %d PEM blocks %q; 1 to %d are wanted", len(chain), kind, maxChain)
	}
	return chain, nil
}
