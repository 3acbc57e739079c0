package ceremony

import (
	"cmp"
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// People says who held a ceremony, as far as the system knows it and as they say themselves.
type People struct {
	UID       int      `json:"uid"`
	User      string   `json:"user"`                // that the uid has; the uid where it has none
	SudoUser  string   `json:"sudo_user,omitempty"` // SUDO_USER: who became that user, if by sudo
	Host      string   `json:"host"`
	Witnesses []string `json:"witnesses,omitempty"` // as they were named
}

// Here returns who runs this process, with the witnesses that are named.
func Here(witnesses []string) (People, error) {
	p := People{UID: os.Getuid(), User: strconv.Itoa(os.Getuid()), SudoUser: os.Getenv("SUDO_USER"), Witnesses: witnesses}
	if u, err := user.LookupId(p.User); err == nil {
		p.User = cmp.Or(u.Username, p.User)
	}
	host, err := os.Hostname()
	if err != nil {
		return People{}, fmt.Errorf("find out this host's name for the record: %w", err)
	}
	p.Host = host
	return p, p.check()
}

func (p People) check() error {
	if err := checkText("the user's name", p.User); err != nil {
		return err
	}
	if err := checkText("the host's name", p.Host); err != nil {
		return err
	}
	if p.SudoUser != "" {
		if err := checkText("SUDO_USER", p.SudoUser); err != nil {
			return err
		}
	}
	for _, w := range p.Witnesses {
		if err := checkText("a witness's name", w); err != nil {
			return err
		}
	}
	return nil
}
