package main

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
)

// account is what this system's user database has of a user.
type account struct {
	uid, gid uint32
	groups   []uint32 // the primary one may be among them
}

var errNoAccount = errors.New("this system's user database has no such user")

// findAccount looks a user up by name, or where that is empty by uid. Where there is none the error
// is errNoAccount.
func findAccount(name string, uid uint32) (account, error) {
	var u *user.User
	var err error
	if name != "" {
		u, err = user.Lookup(name)
	} else {
		u, err = user.LookupId(strconv.FormatUint(uint64(uid), 10))
	}
	var (
		byName user.UnknownUserError
		byID   user.UnknownUserIdError
	)
	switch {
	case errors.As(err, &byName) || errors.As(err, &byID):
		return account{}, errNoAccount
	case err != nil:
		return account{}, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return account{}, err
	}
	var a account
	if a.uid, err = id(u.Uid); err != nil {
		return a, err
	}
	if a.gid, err = id(u.Gid); err != nil {
		return a, err
	}
	for _, text := range ids {
		g, err := id(text)
		if err != nil {
			return a, err
		}
		a.groups = append(a.groups, g)
	}
	return a, nil
}

func id(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("the user database has an id that is none: %w", err)
	}
	return uint32(n), nil
}
