package policy

import (
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// decrypting is a rule for decryption, and signing, that is narrowed by change.
func decrypting(change func(*Rule)) Rule {
	r := Rule{
		Name: "svc", UID: new(uint32(1)), Keysets: []string{"a"}, Operations: []Operation{Decrypt, Sign},
		Algorithms: []jose.SignatureAlgorithm{All},
	}
	change(&r)
	return r
}

// taken is how many of many requests at one instant are let through.
func taken(p *Policy, op Operation) (n int) {
	for range 1000 {
		v := p.Judge(Caller{UID: 1}, Request{Operation: op, Keyset: "a", Alg: jose.ES256})
		if !v.Granted {
			return n
		}
		if v.Reserve != nil {
			if _, ok := v.Reserve(1, noon); !ok {
				return n
			}
		}
		n++
	}
	return n
}

// A rule without a rate limits decryptions and nothing else; one with a rate counts both together.
func TestDecryptionIsLimited(t *testing.T) {
	const unlimited = 1000
	p := mustNew(t, decrypting(func(*Rule) {}))
	if signed, opened := taken(p, Sign), taken(p, Decrypt); signed != unlimited || opened != 40 {
		t.Errorf("%d signatures and %d decryptions at once, want %d and 40", signed, opened, unlimited)
	}
	if signed := taken(p, Sign); signed != unlimited {
		t.Errorf("%d signatures after the decryptions, want %d", signed, unlimited)
	}
	reserve := p.Judge(Caller{UID: 1}, Request{Operation: Decrypt, Keyset: "a"}).Reserve
	if retry, ok := reserve(1, noon); ok || retry != 50*time.Millisecond {
		t.Errorf("the next decryption is let through in %v (%t), want in 50ms", retry, ok)
	}
	all := mustNew(t, decrypting(func(r *Rule) { r.Operations, r.ClientIDs = []Operation{All}, []string{All} }))
	if opened := taken(all, Decrypt); opened != 40 {
		t.Errorf("%d decryptions at once by a rule for all operations, want 40", opened)
	}
	p = mustNew(t, decrypting(func(r *Rule) { r.Rate, r.Burst = 100, 60 }))
	if opened, signed := taken(p, Decrypt), taken(p, Sign); opened != 60 || signed != 0 {
		t.Errorf("%d decryptions and then %d signatures at once, want 60 together", opened, signed)
	}
	// No rate is the highest for signatures, and 20 a second for decryptions.
	p = mustNew(t, decrypting(func(*Rule) {}), decrypting(func(r *Rule) { r.Name, r.Rate, r.Burst = "more", 21, 70 }), decrypting(func(r *Rule) { r.Name, r.Rate, r.Burst = "less", 19, 90 }))
	if signed, opened := taken(p, Sign), taken(p, Decrypt); signed != unlimited || opened != 70 {
		t.Errorf("by the best rule: %d signatures and %d decryptions, want %d and 70", signed, opened, unlimited)
	}
}

// Decryption is granted by name, and by no algorithm.
func TestDecryptionIsGranted(t *testing.T) {
	p := mustNew(t, decrypting(func(r *Rule) { r.Operations, r.Algorithms = []Operation{Decrypt}, nil }))
	for _, c := range []struct {
		uid    uint32
		op     Operation
		keyset string
		want   bool
	}{{1, Decrypt, "a", true}, {1, Decrypt, "b", false}, {2, Decrypt, "a", false}, {1, Sign, "a", false}, {1, Read, "a", false}, {0, Decrypt, "a", false}} {
		if got := p.Decide(Caller{UID: c.uid}, c.op, c.keyset, ""); got.Granted != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
		if got := p.Judge(Caller{UID: c.uid}, Request{Operation: c.op, Keyset: c.keyset}); got.Granted != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

// The executable decides nothing, and no expression sees it.
func TestExecutableIsNotSeen(t *testing.T) {
	rule := token(func(r *Rule) { r.Claims = `caller.exists(k, k == "exe")` })
	p := mustNew(t, rule)
	if v := p.Judge(Caller{UID: 1, Exe: "/usr/bin/op"}, asked("{}")); v.Granted {
		t.Errorf("%+v", v)
	}
	p = mustNew(t, token(func(r *Rule) { r.Claims = `caller.uid == 1` }))
	if v := p.Judge(Caller{UID: 1, Exe: "/usr/bin/op"}, asked("{}")); !v.Granted {
		t.Errorf("%+v", v)
	}
}
