package worker

/*
#cgo CFLAGS: -std=c11 -Wall -Wextra
#cgo LDFLAGS: -ldl
#cgo noescape ks_login
#cgo noescape ks_init_token
#cgo noescape ks_init_pin
#cgo noescape ks_sign
#cgo nocallback ks_sign
#cgo noescape ks_decrypt
#cgo nocallback ks_decrypt
#cgo noescape ks_derive
#cgo nocallback ks_derive

#include <stdlib.h>
#include "native.h"
*/
import "C"

import (
	"errors"
	"reflect"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// native calls a loaded module where miekg/pkcs11 will not do: where a PIN must not be
// copied into Go and C strings, and where a signature has to be one crossing into C.
//
// Every pointer given to C is to memory that holds no pointers and is used by C only
// during the call, so that cgo's rules are kept without pinning anything.
type native struct {
	functions *C.struct_ks_functions
	handle    unsafe.Pointer
}

// loadNative opens the module. The error is the reason alone.
func loadNative(path string) (native, error) {
	cPath := C.CString(path)
	defer C.free(unsafe.Pointer(cPath))
	var why [512]C.char
	var n native
	n.functions = C.ks_load(cPath, &n.handle, &why[0], C.size_t(len(why)))
	if n.functions == nil {
		return native{}, errors.New(C.GoString(&why[0]))
	}
	return n, nil
}

// adopt has n call the functions that ctx calls. Most modules give everyone the same list;
// p11-kit's client gives each caller of C_GetFunctionList an instance of its own, with its own connection,
// sessions and login. miekg/pkcs11 does not show its list; its layout is looked at here.
func (n *native) adopt(ctx *pkcs11.Ctx) {
	n.functions = C.ks_list_of(reflect.ValueOf(ctx).Elem().FieldByName("ctx").UnsafePointer())
}

func (n native) unload() { C.ks_unload(n.handle) }

// bytePtr points at b's bytes, and at some byte where there are none: modules refuse NULL.
func bytePtr(b []byte) *C.ks_byte {
	if len(b) == 0 {
		b = []byte{0}
	}
	return (*C.ks_byte)(unsafe.Pointer(unsafe.SliceData(b)))
}

// login is C_Login (PKCS#11 v2.40 §5.6). It returns the CK_RV.
func (n native) login(session, user uint, pin []byte) uint64 {
	return uint64(C.ks_login(n.functions, C.ks_ulong(session), C.ks_ulong(user), bytePtr(pin), C.ks_ulong(len(pin))))
}

// initToken is C_InitToken (PKCS#11 v2.40 §5.5). It returns the CK_RV.
func (n native) initToken(slot uint, pin []byte, label [32]byte) uint64 {
	return uint64(C.ks_init_token(n.functions, C.ks_ulong(slot), bytePtr(pin), C.ks_ulong(len(pin)), bytePtr(label[:])))
}

// initPIN is C_InitPIN (PKCS#11 v2.40 §5.5). It returns the CK_RV.
func (n native) initPIN(session uint, pin []byte) uint64 {
	return uint64(C.ks_init_pin(n.functions, C.ks_ulong(session), bytePtr(pin), C.ks_ulong(len(pin))))
}

// result is what came of an operation.
type result struct {
	length   uint64 // of what was written, as the module says
	rv       uint64 // CK_RV
	function string // which returned it
}

// sign is C_SignInit and C_Sign (PKCS#11 v2.40 §5.11) with the signature written to sig.
func (n native) sign(session, key uint, m mechanism, data, sig []byte) result {
	r := C.ks_sign(n.functions, C.ks_ulong(session), C.ks_ulong(key),
		C.ks_ulong(m.number), C.ks_ulong(m.hash), C.ks_ulong(m.mgf), C.ks_ulong(m.salt),
		bytePtr(data), C.ks_ulong(len(data)), bytePtr(sig), C.ks_ulong(len(sig)))
	return result{uint64(r.len), uint64(r.rv), [...]string{"C_SignInit", "C_Sign"}[r.in_sign]}
}

// decrypt is C_DecryptInit and C_Decrypt (PKCS#11 v2.40 §5.9) with the plaintext written to plain.
func (n native) decrypt(session, key uint, m mechanism, data, plain []byte) result {
	r := C.ks_decrypt(n.functions, C.ks_ulong(session), C.ks_ulong(key), C.ks_ulong(m.number), C.ks_ulong(m.hash), C.ks_ulong(m.mgf),
		bytePtr(data), C.ks_ulong(len(data)), bytePtr(plain), C.ks_ulong(len(plain)))
	return result{uint64(r.len), uint64(r.rv), [...]string{"C_DecryptInit", "C_Decrypt"}[r.step]}
}

// derive is C_DeriveKey (PKCS#11 v2.40 §5.13) with the value written to secret, of which nothing stays
// on the token.
func (n native) derive(session, key uint, m mechanism, point, secret []byte) result {
	r := C.ks_derive(n.functions, C.ks_ulong(session), C.ks_ulong(key), C.ks_ulong(m.number),
		bytePtr(point), C.ks_ulong(len(point)), bytePtr(secret), C.ks_ulong(len(secret)))
	return result{uint64(r.len), uint64(r.rv), [...]string{"C_DeriveKey", "C_GetAttributeValue", "C_DestroyObject"}[r.step]}
}

// cString copies s to C memory, for a module that keeps the pointer.
func cString(s string) unsafe.Pointer { return unsafe.Pointer(C.CString(s)) }

func freeCString(p unsafe.Pointer) { C.free(p) }
