package policy

import (
	"strconv"
	"strings"
)

// number reads a JSON number (RFC 8259 §6): as int64 if it is whole, however it is written, else
// as float64. It is not ok if it is whole and no int64, or if a double does not hold it: if a
// verifier that reads doubles, as most do (RFC 8259 §6, RFC 7493 §2.2), has another number than
// the one that is written. A double holds a whole number if it is equal, and another number if
// this is the shortest that reads as that double: 0.1, but not 0.10000000000000001.
func number(s string) (v any, ok bool) {
	d, ok := readDecimal(s)
	switch {
	case !ok || d.point > 19: // digits of an int64
		return nil, false
	case d.digits == "":
		return int64(0), true
	case d.point >= len(d.digits):
		i, err := strconv.ParseInt(d.sign+d.digits+strings.Repeat("0", d.point-len(d.digits)), 10, 64)
		f := float64(i)
		return i, err == nil && f < 1<<63 && int64(f) == i
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, false
	}
	short, _ := readDecimal(strconv.FormatFloat(f, 'e', -1, 64))
	return f, short == d
}

// decimal is the number 0.digits times ten to the power of point; digits neither begins nor ends with 0.
type decimal struct {
	sign   string // "-" or ""
	digits string
	point  int
}

// readDecimal is not ok where the exponent is beyond all reason.
func readDecimal(s string) (decimal, bool) {
	var d decimal
	if strings.HasPrefix(s, "-") {
		d.sign, s = "-", s[1:]
	}
	mantissa, exponent := s, "0"
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent = s[:i], s[i+1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	d.digits = strings.TrimRight(digits, "0")
	if d.digits == "" {
		return decimal{}, true
	}
	e, err := strconv.ParseInt(exponent, 10, 32)
	d.point = int(e) + len(digits) - len(fraction)
	return d, err == nil
}
