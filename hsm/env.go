package hsm

import (
	"maps"
	"slices"
	"strings"
)

// workerEnvironment names the variables that a worker inherits; a name that ends in * stands
// for all that begin so. They are what libc and the PKCS#11 modules
// known to us read; a module that needs more gets it by Config.Environment. LD_PRELOAD and
// its like are not among them.
var workerEnvironment = []string{
	"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME",
	"SOFTHSM2_CONF",           // SoftHSM
	"P11_KIT_SERVER_ADDRESS",  // p11-kit's client
	"OPENCRYPTOKI_*",          // openCryptoki
	"NSS_*",                   // NSS softokn
	"TPM2_PKCS11_*", "TSS2_*", // tpm2-pkcs11
	"ChrystokiConfigurationPath", // Thales Luna
	"NFAST_*", "CKNFAST_*",       // Entrust nShield
	"YUBIHSM_PKCS11_CONF", // YubiHSM
	"CLOUDHSM_*",          // AWS CloudHSM
	"CS_PKCS11_R2_CFG",    // Utimaco
	"KMS_PKCS11_CONFIG",   // Google Cloud KMS
	"GOOGLE_APPLICATION_CREDENTIALS",
	"OPENSC_CONF", "PKCS11SPY", "PKCS11SPY_OUTPUT", // OpenSC
	"PKCS11_PROXY_SOCKET", "PKCS11_PROXY_TLS_PSK_FILE", // pkcs11-proxy
}

// environment is a worker's: what it inherits of the daemon's, and extra, which wins.
func environment(daemons []string, extra map[string]string) []string {
	env := make([]string, 0, len(daemons))
	for _, kv := range daemons {
		name, _, _ := strings.Cut(kv, "=")
		if _, replaced := extra[name]; !replaced && inherited(name) {
			env = append(env, kv)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		env = append(env, name+"="+extra[name])
	}
	return env
}

func inherited(name string) bool {
	return slices.ContainsFunc(workerEnvironment, func(p string) bool {
		if prefix, ok := strings.CutSuffix(p, "*"); ok {
			return strings.HasPrefix(name, prefix)
		}
		return name == p
	})
}
