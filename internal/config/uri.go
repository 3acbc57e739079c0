package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// tokenURI is what a PKCS#11 URI says of a token (RFC 7512 §2.3).
type tokenURI struct {
	token, serial, manufacturer, model string
	module                             string // module-path
}

// The attributes of RFC 7512 §2.3 that are refused, each with what to do. PINs have one
// place in the configuration, so that there is one place to look whether they are safe.
var refusedAttributes = map[string]string{
	"pin-value":            "must not have pin-value, for a PIN must not stand in the configuration; use pin: {file: PATH}",
	"pin-source":           "must not have pin-source; use pin: {file: PATH}",
	"module-name":          "must not have module-name, for which library it means depends on the system; use module-path or module:",
	"slot-id":              "must not have slot-id, for slot numbers change; use token or serial",
	"slot-description":     "must not have slot-description, for slots change; use token or serial",
	"slot-manufacturer":    "must not have slot-manufacturer, for slots change; use token or serial",
	"object":               "must not have object; it is to name a token, not a key",
	"type":                 "must not have type; it is to name a token, not a key",
	"id":                   "must not have id; it is to name a token, not a key",
	"library-manufacturer": "must not have library-manufacturer; name the library by module-path",
	"library-description":  "must not have library-description; name the library by module-path",
	"library-version":      "must not have library-version; name the library by module-path",
}

// parseURI reads a PKCS#11 URI that names a token. Its errors repeat no values.
func parseURI(s string) (tokenURI, error) {
	rest, ok := strings.CutPrefix(s, "pkcs11:")
	if !ok {
		return tokenURI{}, errors.New("must begin with pkcs11: (RFC 7512)")
	}
	var u tokenURI
	inPath := map[string]*string{"token": &u.token, "serial": &u.serial, "manufacturer": &u.manufacturer, "model": &u.model}
	inQuery := map[string]*string{"module-path": &u.module}
	before, after, _ := strings.Cut(rest, "?")
	if err := attributes(before, ";", inPath); err != nil {
		return tokenURI{}, err
	}
	if err := attributes(after, "&", inQuery); err != nil {
		return tokenURI{}, err
	}
	if u.module != "" && !filepath.IsAbs(u.module) {
		return tokenURI{}, errors.New("module-path must be an absolute path")
	}
	return u, nil
}

// attributes reads NAME=VALUE pairs into the variables of known.
func attributes(s, separator string, known map[string]*string) error {
	if s == "" {
		return nil
	}
	for pair := range strings.SplitSeq(s, separator) {
		name, escaped, ok := strings.Cut(pair, "=")
		if why := refusedAttributes[name]; why != "" {
			return errors.New(why)
		}
		v := known[name]
		switch {
		case v == nil || !ok:
			return errors.New("has an attribute that does not belong there; before \"?\" go token, serial, manufacturer, model, after it module-path")
		case *v != "":
			return fmt.Errorf("has %s twice", name)
		}
		value, err := url.PathUnescape(escaped)
		if err != nil {
			return fmt.Errorf("has a broken %% escape in %s", name)
		}
		if value == "" || control(value) {
			return fmt.Errorf("has an empty or unprintable %s", name)
		}
		*v = value
	}
	return nil
}
