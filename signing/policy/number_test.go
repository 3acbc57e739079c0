package policy

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNumber(t *testing.T) {
	for s, want := range map[string]any{ // nil: not ok
		"0": int64(0), "-0": int64(0), "-0.0": int64(0), "0e99999999999999999999": int64(0),
		"1.0": int64(1), "100e-2": int64(1), "0.001e3": int64(1), "1E+3": int64(1000), "12.50e1": int64(125), "-12e2": int64(-1200), "1e18": int64(1e18),
		"9007199254740992": int64(1 << 53), "9007199254740993": nil, "9007199254740993.0": nil, "9007199254740994": int64(1<<53 + 2),
		"9223372036854775807": nil, "-9223372036854775808": int64(-1 << 63), "-9223372036854775809": nil, "9223372036854774784": int64(1<<63 - 1024),
		"9223372036854775808": nil, "1e19": nil, "5e300": nil, "1e400": nil, "1e99999999999999999999": nil, "1e2147483647": nil,
		"0.1": 0.1, "-0.10": -0.1, "1e-1": 0.1, "0.30000000000000004": 0.30000000000000004, "0.10000000000000001": nil,
		"9007199254740992.5": nil, "1.00000000000000000000000001": nil, "1e-400": nil, "1e-99999999999999999999": nil, "5e-324": 5e-324, "3e-324": nil,
	} {
		got, ok := number(s)
		if ok != (want != nil) || ok && got != want {
			t.Errorf("%s: %T %v, %v; want %v", s, got, got, ok, want)
		}
	}
}

// A whole number is the same int however it is written, and ok exactly if a double is equal to it.
func TestNumberIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-1<<55, 1<<55)).Draw(t, "number")
		zeros := rapid.IntRange(0, 30).Draw(t, "zeros")
		_, accuracy := new(big.Float).SetInt64(i).Float64()
		for _, s := range []string{fmt.Sprint(i), fmt.Sprintf("%d.%s", i, strings.Repeat("0", zeros+1)), fmt.Sprintf("%d%se-%d", i, strings.Repeat("0", zeros), zeros)} {
			if got, ok := number(s); ok != (accuracy == big.Exact) || ok && got != i {
				t.Fatalf("%s: %T %v, %v", s, got, got, ok)
			}
		}
	})
}

// What programs write of a double is ok, and is that double.
func TestNumberOfADouble(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.Float64Range(-1e9, 1e9).Draw(t, "number")
		for _, format := range []byte("eg") {
			s := strconv.FormatFloat(f, format, -1, 64)
			got, ok := number(s)
			if i, whole := got.(int64); !ok || got != f && !(whole && float64(i) == f) {
				t.Fatalf("%s: %T %v, %v", s, got, got, ok)
			}
		}
	})
}
