package worker

import (
	"strings"
	"unsafe"

	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
)

// module is a PKCS#11 library that is loaded and initialised.
type module struct {
	path     string
	ctx      *pkcs11.Ctx
	native   native
	reserved unsafe.Pointer // C memory; a module may keep it until C_Finalize
}

// load loads the library and calls C_Initialize, with OS locking and, where reserved is
// not empty, with it as pReserved (PKCS#11 v2.40 §5.4).
func load(path, reserved string) (*module, error) {
	n, err := loadNative(path)
	if err != nil {
		return nil, reason(wire.ModuleMissing, "load the PKCS#11 module %q: %v; check token.module in the configuration, and that the module's package is installed", path, err)
	}
	m := &module{path: path, native: n, ctx: pkcs11.New(path)}
	if m.ctx == nil {
		n.unload()
		return nil, reason(wire.ModuleMissing, "load the PKCS#11 module %q: it was there a moment ago and cannot be opened again", path)
	}
	m.native.adopt(m.ctx)
	var options []pkcs11.InitializeOption
	if reserved != "" {
		m.reserved = cString(reserved)
		options = append(options, pkcs11.InitializeWithReserved(m.reserved))
	}
	if err := m.ctx.Initialize(options...); err != nil {
		m.unload()
		return nil, failed("C_Initialize", err, "initialise the module %q", path)
	}
	return m, nil
}

// close finalises and unloads. No call is under way.
func (m *module) close() error {
	err := m.ctx.Finalize()
	m.unload()
	if err != nil {
		return failed("C_Finalize", err, "finalise the module %q", m.path)
	}
	return nil
}

func (m *module) unload() {
	m.ctx.Destroy()
	m.native.unload()
	freeCString(m.reserved) // free(3) of NULL does nothing
}

// closeSession is for sessions that are of no further use: there is nothing to do about
// one that does not close.
func (m *module) closeSession(s pkcs11.SessionHandle) { _ = m.ctx.CloseSession(s) }

// trim removes the padding of PKCS#11's fixed strings; some modules pad with NUL.
func trim(s string) string { return strings.TrimRight(s, " \x00") }
