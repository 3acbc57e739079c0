package signing

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fold agrees with strings.EqualFold, by which Go's verifiers match names.
func TestFold(t *testing.T) {
	char := rapid.OneOf(rapid.Rune(), rapid.SampledFrom([]rune("kKKsSſåÅÅaAiIıİßẞσςΣµμΜǅǆǄ_.")))
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.StringOfN(char, 0, 4, -1).Draw(t, "a")
		b := rapid.StringOfN(char, 0, 4, -1).Draw(t, "b")
		if rapid.Bool().Draw(t, "alike") {
			b = rapid.SampledFrom([]string{strings.ToUpper(a), strings.ToLower(a), strings.ToTitle(a)}).Draw(t, "other")
		}
		if (fold(a) == fold(b)) != strings.EqualFold(a, b) {
			t.Fatalf("%q and %q are equal: %v; folded to %q and %q", a, b, strings.EqualFold(a, b), fold(a), fold(b))
		}
		if fold(fold(a)) != fold(a) {
			t.Fatalf("%q folds to %q, and that to %q", a, fold(a), fold(fold(a)))
		}
	})
	for _, name := range slices.Collect(maps.Keys(registered)) {
		if fold(name) != name {
			t.Errorf("%s is not in lower case", name)
		}
	}
}

// As many names as fit take a time that grows as they do.
func TestManyNames(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"exp":1800000060`)
	for i := 0; b.Len() < MaxClaims-20; i++ {
		fmt.Fprintf(&b, `,"A%x":0`, i)
	}
	start := time.Now()
	if _, err := judgeClaims([]byte(b.String()+"}"), testRules, testNow); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("%v for %d bytes", took, b.Len())
	}
}

// A number that is signed is the same to who reads it exactly and to who reads a double, if it is whole.
func TestInexact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.Int64(), rapid.Int64Range(1<<53-3, 1<<53+3), rapid.Int64Range(-1<<53-3, -1<<53+3)).Draw(t, "n")
		text := rapid.SampledFrom([]string{"%d", "%d.0", "%de0", "%d00E-2", "%d.000e+00"}).Draw(t, "form")
		text = fmt.Sprintf(text, n)
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		same := new(big.Rat).SetFloat64(f).Cmp(new(big.Rat).SetInt64(n)) == 0
		if !inexact([]byte(text)) && !same {
			t.Fatalf("%s is %f to others", text, f)
		}
		if n <= maxExact && n >= -maxExact && inexact([]byte("["+text+"]")) {
			t.Fatalf("%s is refused", text)
		}
	})
}
