package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"keysetd.example/hsm"
	"keysetd.example/internal/config"
)

// pinOf returns how a PIN is read, and how its source is told apart from a changed one.
func pinOf(p config.PIN) (read func(context.Context) ([]byte, error), source func() (string, error)) {
	switch {
	case p.Env != "": // keysetd dev only
		return func(context.Context) ([]byte, error) {
			pin := []byte(os.Getenv(p.Env))
			if len(pin) == 0 {
				return nil, fmt.Errorf("reading the PIN: the environment variable %s is not set", p.Env)
			}
			return pin, nil
		}, nil
	case p.Credential != "":
		return credentialPIN(p.Credential)
	}
	return hsm.FilePIN(p.File), hsm.FilePINSource(p.File)
}

// credentialPIN reads a systemd credential (systemd.exec(5), LoadCredential=).
func credentialPIN(name string) (func(context.Context) ([]byte, error), func() (string, error)) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		err := errors.New("reading the PIN from credential " + name + ": CREDENTIALS_DIRECTORY is not set; add LoadCredential=" + name + ":FILE to the service, or name a file under pin:")
		return func(context.Context) ([]byte, error) { return nil, err }, nil
	}
	path := filepath.Join(dir, name)
	// Not the file's identity: systemd lays credentials anew at each start of the service.
	return hsm.CredentialPIN(path), nil
}
