package config

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks/x5c"
	"keysetd.example/rotation"
)

// maxChain is how large a file of certificates may be.
const maxChain = 1 << 20

var (
	// pathLike is surely the path of a file of certificates, and no secret in its place.
	pathLike = regexp.MustCompile(`^[A-Za-z0-9._/-]+\.(pem|crt|cer)$`)
	// pemBegin begins a block of PEM (RFC 7468 §3).
	pemBegin = regexp.MustCompile(`(?m)^[ \t]*-----BEGIN ([^\r\n]*)-----`)
)

// chain reads the file of a certificate chain for a key of that type: X.509 DER, leaf first.
// Its errors name the file, where the path is surely one, and repeat nothing that is in it.
func (s *source) chain(path string, t rotation.KeyType) ([][]byte, error) {
	chain, err := func() ([][]byte, error) {
		data, err := s.opts.ReadFile(path)
		var failed *fs.PathError
		if errors.As(err, &failed) { // for its path could be anything
			err = failed.Err
		}
		if err != nil {
			return nil, err
		}
		chain, err := certificates(data)
		if err != nil {
			return nil, err
		}
		return chain, checkChain(chain, t)
	}()
	if err != nil && pathLike.MatchString(path) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("the file that it names: %w", err)
	}
	return chain, nil
}

// readFile reads a file that is small and a file.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO would wait for its writer
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("is no regular file"))
	}
	data, err := io.ReadAll(io.LimitReader(f, maxChain+1))
	if err == nil && len(data) > maxChain {
		err = fmt.Errorf("is larger than the %d MiB that a chain may have", maxChain>>20)
	}
	return data, err
}

// certificates returns the content of the CERTIFICATE blocks in data (RFC 7468 §5).
func certificates(data []byte) (chain [][]byte, err error) {
	begun := pemBegin.FindAllSubmatch(data, -1)
	for _, b := range begun {
		if bytes.Contains(b[1], []byte("PRIVATE KEY")) {
			return nil, fmt.Errorf("holds a private key (%s); take it out, and if it is the key on the token, that key is not safe any more: replace it", privateType(string(b[1])))
		}
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("block %d is no CERTIFICATE; leave certificates only, leaf first", len(chain)+1)
		}
		chain = append(chain, block.Bytes)
	}
	switch {
	case len(begun) == 0:
		return nil, errors.New("has no CERTIFICATE block; write the chain as PEM, leaf first")
	case len(chain) != len(begun): // pem.Decode passes over what it cannot read
		return nil, fmt.Errorf("only %d of its %d PEM blocks can be read; write it again", len(chain), len(begun))
	}
	return chain, nil
}

// privateType is the type of a block with a private key, if it is one that there is.
func privateType(s string) string {
	for word := range strings.FieldsSeq("ENCRYPTED RSA EC DSA OPENSSH") {
		if s == word+" PRIVATE KEY" {
			return s
		}
	}
	return "PRIVATE KEY"
}

// checkChain tells whether the chain is one, for a key of that type. Whether it is for the
// very key shows when the token is asked. What day it is does not matter, lest keysetd could not be
// restarted when a certificate has ended.
func checkChain(chain [][]byte, t rotation.KeyType) error {
	var begin time.Time
	var leaf crypto.PublicKey
	for i, der := range chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("block %d is not an X.509 certificate that can be read", i+1)
		}
		if i == 0 {
			leaf = cert.PublicKey
		}
		if cert.NotBefore.After(begin) {
			begin = cert.NotBefore
		}
	}
	if spec, err := keyspec.Of(leaf); err != nil || rotation.TypeOf(spec) != t {
		return fmt.Errorf("its first certificate is not for a key of type %s", t)
	}
	if err := x5c.Check(chain, leaf, begin); err != nil {
		return errors.New("its certificates are no chain; the first is the key's, each is followed by the one that signed it (not with SHA-1), at some time all are valid, and nothing else is in it")
	}
	return nil
}
