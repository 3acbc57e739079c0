package dev

import (
	"errors"
	"path/filepath"
)

// softHSMPaths are where distributions put SoftHSM's library.
var softHSMPaths = []string{
	"/usr/lib/softhsm/libsofthsm2.so",          // Debian, Ubuntu
	"/usr/lib/*/softhsm/libsofthsm2.so",        // Debian's multiarch directories
	"/usr/lib64/pkcs11/libsofthsm2.so",         // Fedora
	"/usr/lib64/libsofthsm2.so",                // RHEL
	"/usr/local/lib/softhsm/libsofthsm2.so",    // built from source
	"/opt/homebrew/lib/softhsm/libsofthsm2.so", // Homebrew
}

// FindSoftHSM returns the path of SoftHSM's PKCS#11 library.
func FindSoftHSM() (string, error) {
	for _, pattern := range softHSMPaths {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0], nil
		}
	}
	return "", errors.New("SoftHSM is not installed: no libsofthsm2.so where distributions put it; install it (Debian: apt-get install softhsm2) or give its path with --module")
}
