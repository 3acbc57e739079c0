package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// body is what follows a request's header.
type body interface {
	// check tells whether every length fits its field. append may be called only then.
	check() error
	// size is how many bytes append adds, so that a frame's memory is taken once: a
	// buffer that grew would leave copies of a PIN behind.
	size() int
	append([]byte) []byte
}

// raw is a body that has its form already: JSON, or nothing.
type raw []byte

func (r raw) check() error           { return nil }
func (r raw) size() int              { return len(r) }
func (r raw) append(b []byte) []byte { return append(b, r...) }

// maxField is the longest value of a field, whose length is a uint16.
const maxField = math.MaxUint16

// fits refuses what would otherwise be cut off silently.
func fits(what string, n int) error {
	if n > maxField {
		return refused("%s is %d bytes long; the longest is %d", what, n, maxField)
	}
	return nil
}

// argumentsBad is CKR_ARGUMENTS_BAD: this one request is at fault and nothing else.
const argumentsBad = 0x07

// refused is a request or a reply that is not sent, since no frame can carry it.
func refused(format string, args ...any) error {
	return &Error{Code: argumentsBad, Reason: Protocol, Message: fmt.Sprintf(format, args...)}
}

func appendBytes[T []byte | string](b []byte, v T) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(v)))
	return append(b, v...)
}

// decoder takes fields off the front of b; once something is missing it is bad for good.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) byte() byte {
	if d.bad || len(d.b) < 1 {
		d.bad = true
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) bytes() []byte {
	if d.bad || len(d.b) < 2 {
		d.bad = true
		return nil
	}
	n := int(binary.BigEndian.Uint16(d.b))
	if len(d.b)-2 < n {
		d.bad = true
		return nil
	}
	v := d.b[2 : 2+n : 2+n]
	d.b = d.b[2+n:]
	return v
}

func (d *decoder) end(what string) error {
	if d.bad || len(d.b) != 0 {
		return fmt.Errorf("%w: %s", ErrFrame, what)
	}
	return nil
}
