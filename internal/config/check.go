package config

import (
	"maps"
	"path/filepath"
	"slices"
)

// abs returns p below the directory of the file, unless it is absolute.
func (s *source) abs(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(s.dir, p)
}

// check tells the first thing that does not hold, and fills in what depends on other fields.
func (c *Config) check(src *source) error {
	if err := c.checkTokens(src); err != nil {
		return err
	}
	c.Store.Path = src.abs(c.Store.Path)
	if err := c.Audit.check(src, c.Store.Path, c.Tokens); err != nil {
		return err
	}
	if err := c.Listen.check(src); err != nil {
		return err
	}
	if err := c.checkPublicURL(src); err != nil {
		return err
	}
	if err := c.checkAuthorities(src); err != nil {
		return err
	}
	if len(c.Keysets) == 0 {
		return src.fail(root.join("keysets"), "no keyset is given; describe at least one")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Keysets)) {
		k := c.Keysets[name]
		if err := k.check(src, name, c.Tokens); err != nil {
			return err
		}
		c.Keysets[name] = k
		if err := c.checkJKU(src, name); err != nil {
			return err
		}
		if err := c.checkAuthority(src, name); err != nil {
			return err
		}
	}
	if err := c.checkOnce(src); err != nil {
		return err
	}
	if err := c.checkKIDs(src); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(c.Callers)) {
		caller := c.Callers[name]
		if err := caller.check(src, root.join("callers").join(name), c.Keysets); err != nil {
			return err
		}
		c.Callers[name] = caller
	}
	return c.checkPolicy(src)
}
