package ceremony

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/ThalesIgnite/crypto11"

	"keysetd.example/hsm"
	"keysetd.example/hsm/wire"
)

// backend lets package hsm log crypto11 in as it does its own workers: under the marker. It does nothing else.
type backend struct {
	module string
	info   hsm.Info // as a worker has just seen the token
	opened chan<- *crypto11.Context
	ctx    *crypto11.Context
}

// maxSessions: one that crypto11 keeps, and those that work.
const maxSessions = 3

// Open implements wire.Backend.
func (b *backend) Open(wire.OpenRequest) (wire.TokenInfo, error) { return b.info, nil }

// Prepare implements wire.Backend: crypto11 opens its sessions by itself.
func (b *backend) Prepare(wire.PrepareRequest) error { return nil }

// Login implements wire.Backend. crypto11's Configure calls C_Login once at most; it takes "already logged
// in" for success, which in a process that holds one ceremony nobody is.
func (b *backend) Login(r wire.LoginRequest) error {
	// crypto11 wants the token named in one way. The serial number is that of the one that the worker found.
	cfg := crypto11.Config{Path: b.module, TokenSerial: b.info.Serial, MaxSessions: maxSessions}
	if b.info.Serial == "" {
		cfg.TokenLabel = b.info.Label
	}
	// No copy for the collector to keep: the bytes are zeroed once this returns, and until then do not change.
	cfg.Pin = unsafe.String(unsafe.SliceData(r.PIN), len(r.PIN))
	ctx, err := crypto11.Configure(&cfg)
	cfg.Pin = "" // ctx keeps cfg
	if err != nil {
		return loginError(err)
	}
	b.ctx = ctx
	b.opened <- ctx
	return nil
}

// loginError is err as package hsm judges it. Whatever Configure fails with is taken for C_Login's, also where an
// earlier call gave it: that errs on the side of not trying again.
func loginError(err error) error {
	code, _ := codeOf(err) // 0 where there is none: what came of the PIN is not known
	return &wire.Error{Code: code, Function: "C_Login", Message: fmt.Sprintf("log in with crypto11 (%v)", err)}
}

// codeOf is the CK_RV in err, if there is one. Its type is miekg/pkcs11's Error, an unsigned number, whose
// package only the worker imports. crypto11 wraps in the old way (github.com/pkg/errors before 0.9), too.
func codeOf(err error) (uint64, bool) {
	for err != nil {
		if v := reflect.ValueOf(err); v.CanUint() {
			return v.Uint(), true
		}
		if old, ok := err.(interface{ Cause() error }); ok {
			err = old.Cause()
		} else {
			err = errors.Unwrap(err)
		}
	}
	return 0, false
}

// List implements wire.Backend. Whoever looks at the token does so through a worker.
func (b *backend) List(wire.ListRequest) ([]wire.Object, error) { return nil, nil }

// Metrics implements wire.Backend: there is no process to tell of.
func (b *backend) Metrics() ([]byte, error) { return nil, nil }

// Close implements wire.Backend. crypto11 finalises the module for the whole process.
func (b *backend) Close() error {
	if b.ctx == nil {
		return nil
	}
	return b.ctx.Close()
}

var errNotAsked = &wire.Error{Reason: wire.Unsupported, Message: "this login is crypto11's own"}

// InitToken implements wire.Backend.
func (b *backend) InitToken(wire.InitTokenRequest) (wire.TokenInfo, error) {
	return wire.TokenInfo{}, errNotAsked
}

// Generate implements wire.Backend.
func (b *backend) Generate(wire.GenerateRequest) (wire.Object, error) {
	return wire.Object{}, errNotAsked
}

// Sign implements wire.Backend.
func (b *backend) Sign(wire.SignRequest, *wire.Timing) ([]byte, error) { return nil, errNotAsked }

// Decrypt implements wire.Backend.
func (b *backend) Decrypt(wire.DecryptRequest, *wire.Timing) (wire.Decrypted, error) {
	return wire.Decrypted{}, errNotAsked
}

// Destroy implements wire.Backend.
func (b *backend) Destroy(wire.Ref) (wire.DestroyReply, error) {
	return wire.DestroyReply{}, errNotAsked
}
