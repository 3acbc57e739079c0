package hsmtest

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"
)

// faultKind is fault.c's enum kind.
type faultKind uint32

const (
	faultFail faultKind = 1 + iota
	faultAfter
	faultDelay
	faultHang
	faultCrash
	faultLater
)

// always is as many calls as a rule can be for.
const always = 1<<32 - 1

// faultRule is fault.c's struct rule.
type faultRule struct {
	function     [32]byte
	left         atomic.Uint64 // a rule's own number, and how many calls it is still for
	kind, millis uint32
	code         uint64
}

// faultPage is fault.c's struct page: the control file, mapped.
type faultPage struct {
	rules, release, taken, recorded atomic.Uint32

	rule       [64]faultRule
	attributes [4096]byte
}

// mapFaultPage makes a control file and maps it until the test ends.
func mapFaultPage(t testing.TB) (page *faultPage, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "faults")
	size := int(unsafe.Sizeof(faultPage{}))
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(os.NewSyscallError("mmap", err))
	}
	t.Cleanup(func() { syscall.Munmap(b) })
	return (*faultPage)(unsafe.Pointer(unsafe.SliceData(b))), path
}

// add puts a rule behind those that are there. The module may read the page at any moment, so
// a rule counts only once its left is written, and the first rules of the page are used again
// only when none is left at all, which keeps them in order.
func (p *faultPage) add(function string, kind faultKind, times uint32, code uint64, millis uint32) error {
	n := p.rules.Load()
	for n > 0 && uint32(p.rule[n-1].left.Load()) == 0 {
		n--
	}
	if int(n) == len(p.rule) {
		return errors.New("there are too many faults at once")
	}
	r := &p.rule[n]
	if len(function) >= len(r.function) {
		return errors.New("no PKCS#11 function has a name this long")
	}
	r.function = [32]byte{}
	copy(r.function[:], function)
	r.kind, r.code, r.millis = uint32(kind), code, millis
	number := r.left.Load()>>32 + 1
	r.left.Store(number<<32 | uint64(times))
	p.rules.Store(n + 1)
	return nil
}

// remove takes away the rules of this kind, or all of them if it is 0.
func (p *faultPage) remove(kind faultKind) {
	for i := range p.rules.Load() {
		r := &p.rule[i]
		for left := r.left.Load(); kind == 0 || r.kind == uint32(kind); left = r.left.Load() {
			if r.left.CompareAndSwap(left, left>>32<<32) {
				break
			}
		}
	}
}

// template returns what C_GenerateKeyPair was given, once it is recorded: those attributes
// of the private key win that the public key has too.
func (p *faultPage) template() map[uint32][]byte {
	n := p.recorded.Load()
	if n == 0 {
		return nil
	}
	all := map[uint32][]byte{}
	for b := p.attributes[:n]; len(b) > 0; {
		kind, size := binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint32(b[4:])
		all[kind] = append([]byte(nil), b[8:8+size]...)
		b = b[8+size:]
	}
	p.recorded.Store(0)
	return all
}
