package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"pgregory.net/rapid"

	"keysetd.example/internal/jwa"
)

const (
	overflow = 65534
	daemon   = 990
)

var options = Options{OverflowUID: overflow, DaemonUID: daemon}

func mustNew(t testing.TB, rules ...Rule) *Policy {
	t.Helper()
	p, err := New(rules, options)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func rule(uid uint32, keysets []string, ops []Operation, algs ...jose.SignatureAlgorithm) Rule {
	return Rule{Name: "svc", UID: new(uid), Keysets: keysets, Operations: ops, Algorithms: algs, ClientIDs: clientIDs(ops)}
}

// clientIDs is what must be granted beside the operations.
func clientIDs(ops []Operation) []string {
	if slices.Contains(ops, ClientAssertion) || slices.Contains(ops, All) {
		return []string{All}
	}
	return nil
}

func TestDecide(t *testing.T) {
	p := mustNew(t,
		rule(1001, []string{"default"}, []Operation{JWT}, jose.ES256),
		rule(1002, []string{"a"}, []Operation{JWT}, jose.ES256),
		rule(1002, []string{"b"}, []Operation{Sign}, jose.RS256),
		rule(1003, []string{All}, []Operation{All}, All),
		rule(1004, []string{"default"}, []Operation{Read}),
		rule(1005, []string{"a"}, []Operation{Revoke}),
		rule(0, []string{"default"}, []Operation{JWT}, jose.ES256),
	)
	for name, tc := range map[string]struct {
		uid    uint32
		op     Operation
		keyset string
		alg    jose.SignatureAlgorithm
		reason string // empty: granted
	}{
		"granted":                      {1001, JWT, "default", jose.ES256, ""},
		"another algorithm":            {1001, JWT, "default", jose.RS256, "uid 1001 is not granted operation jwt with RS256 on keyset default; it is granted ES256"},
		"another keyset":               {1001, JWT, "other", jose.ES256, "uid 1001 is not granted operation jwt on keyset other; add it under callers:"},
		"another operation":            {1001, Sign, "default", jose.ES256, "uid 1001 is not granted operation sign on keyset default; add it under callers:"},
		"reading is a grant too":       {1001, Read, "default", "", "uid 1001 is not granted operation read on keyset default; add it under callers:"},
		"no algorithm":                 {1001, JWT, "default", "", "uid 1001 is not granted operation jwt with an algorithm that does not exist on keyset default; it is granted ES256"},
		"unknown uid":                  {1009, JWT, "default", jose.ES256, "uid 1009 is not granted operation jwt on keyset default; add it under callers:"},
		"first of two rules":           {1002, JWT, "a", jose.ES256, ""},
		"second of two rules":          {1002, Sign, "b", jose.RS256, ""},
		"rules are no cross product":   {1002, Sign, "a", jose.RS256, "uid 1002 is not granted operation sign on keyset a; add it under callers:"},
		"nor in algorithms":            {1002, JWT, "a", jose.RS256, "uid 1002 is not granted operation jwt with RS256 on keyset a; it is granted ES256"},
		"stars":                        {1003, Sign, "whatever", jose.EdDSA, ""},
		"star reads":                   {1003, Read, "whatever", "", ""},
		"read without algorithms":      {1004, Read, "default", "", ""},
		"read is not jwt":              {1004, JWT, "default", jose.ES256, "uid 1004 is not granted operation jwt on keyset default; add it under callers:"},
		"root reads":                   {0, Read, "other", "", ""},
		"root has what a rule grants":  {0, JWT, "default", jose.ES256, ""},
		"root does not revoke":         {0, Revoke, "default", "", "uid 0 is not granted operation revoke on keyset default; add it under callers:"},
		"the daemon does not rotate":   {daemon, Rotate, "default", "", "uid 990 is not granted operation rotate on keyset default; add it under callers:"},
		"read is not freeze":           {1004, Freeze, "default", "", "uid 1004 is not granted operation freeze on keyset default; add it under callers:"},
		"revoke without algorithms":    {1005, Revoke, "a", "", ""},
		"revoke of one keyset only":    {1005, Revoke, "b", "", "uid 1005 is not granted operation revoke on keyset b; add it under callers:"},
		"revoke is not rotate":         {1005, Rotate, "a", "", "uid 1005 is not granted operation rotate on keyset a; add it under callers:"},
		"star revokes":                 {1003, Revoke, "whatever", "", ""},
		"root has nothing more":        {0, Sign, "default", jose.ES256, "uid 0 is not granted operation sign on keyset default; add it under callers:"},
		"the daemon reads":             {daemon, Read, "default", "", ""},
		"the daemon does not sign":     {daemon, JWT, "default", jose.ES256, "uid 990 is not granted operation jwt on keyset default; add it under callers:"},
		"overflow":                     {overflow, Read, "default", "", "uid 65534 is the kernel's overflow uid, which stands for every user of other user namespaces; it is never granted anything: run the caller under a uid of the daemon's user namespace"},
		"a keyset that is no name":     {1001, JWT, "x\n{\"outcome\":1}", jose.ES256, "uid 1001 is not granted operation jwt on keyset (not a name); add it under callers:"},
		"a keyset too long for a line": {1001, JWT, strings.Repeat("x", 65), jose.ES256, "uid 1001 is not granted operation jwt on keyset (not a name); add it under callers:"},
	} {
		t.Run(name, func(t *testing.T) {
			got := p.Decide(Caller{UID: tc.uid}, tc.op, tc.keyset, tc.alg)
			if got.Granted != (tc.reason == "") || got.Reason != tc.reason {
				t.Errorf("got %+v, want reason %q", got, tc.reason)
			}
		})
	}
}

func TestOverflowUIDIsRefusedEvenToTheDaemonItself(t *testing.T) {
	p, err := New(nil, Options{OverflowUID: overflow, DaemonUID: overflow})
	if err != nil {
		t.Fatal(err)
	}
	if d := p.Decide(Caller{UID: overflow}, Read, "default", ""); d.Granted {
		t.Error("granted")
	}
}

func TestParseOperation(t *testing.T) {
	for s, want := range map[string]string{
		"jwt": "", "sign": "", "client-assertion": "", "decrypt": "", "read": "", "rotate": "", "revoke": "", "freeze": "", "admin": "",
		"thaw":    "is not an operation; the operations are jwt, sign, client-assertion, decrypt, read, rotate, revoke, freeze, certificate, admin",
		"batch":   "is not an operation of its own: each of its items is judged as what it is; the operations are jwt, sign, client-assertion, decrypt, read, rotate, revoke, freeze, certificate, admin",
		"hunter2": "is not an operation; the operations are jwt, sign, client-assertion, decrypt, read, rotate, revoke, freeze, certificate, admin",
		"*":       "is not an operation; the operations are jwt, sign, client-assertion, decrypt, read, rotate, revoke, freeze, certificate, admin",
	} {
		op, err := ParseOperation(s)
		switch {
		case want == "" && (err != nil || string(op) != s):
			t.Errorf("%s: %v, %v", s, op, err)
		case want != "" && (err == nil || err.Error() != want):
			t.Errorf("%s: got %v, want %s", s, err, want)
		}
	}
}

// A request is granted exactly if one rule of its uid names all that it asks for.
func TestGrantedIffOneRuleCoversAll(t *testing.T) {
	keysets := []string{"a", "b", "c"}
	algs := jwa.All()
	uids := []uint32{0, 1, 2, daemon, overflow}
	subset := func(t *rapid.T, what string, all []string) []string {
		if rapid.IntRange(0, 3).Draw(t, what+" star") == 0 {
			return []string{All}
		}
		return rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, 2, rapid.ID).Draw(t, what)
	}
	rapid.Check(t, func(t *rapid.T) {
		var rules []Rule
		for range rapid.IntRange(0, 5).Draw(t, "rules") {
			r := Rule{Name: "svc", UID: new(rapid.SampledFrom(uids[:4]).Draw(t, "uid")), Keysets: subset(t, "keysets", keysets)}
			for _, o := range subset(t, "operations", []string{"jwt", "sign", "client-assertion", "read", "rotate", "revoke", "freeze", "admin"}) {
				r.Operations = append(r.Operations, Operation(o))
			}
			for _, a := range subset(t, "algorithms", []string{"ES256", "RS256", "EdDSA"}) {
				r.Algorithms = append(r.Algorithms, jose.SignatureAlgorithm(a))
			}
			r.ClientIDs = clientIDs(r.Operations)
			rules = append(rules, r)
		}
		p, err := New(rules, options)
		if err != nil {
			t.Fatal(err)
		}
		for _, uid := range uids {
			for _, op := range Operations() {
				for _, k := range keysets {
					for _, a := range algs {
						want := op == Read && (uid == 0 || uid == daemon)
						for _, r := range rules {
							has := func(list []string, s string) bool {
								return slices.Contains(list, s) || slices.Contains(list, All)
							}
							ops := slices.Contains(r.Operations, op) || slices.Contains(r.Operations, All)
							alg := !op.Signs() || slices.Contains(r.Algorithms, a) || slices.Contains(r.Algorithms, All)
							want = want || *r.UID == uid && (op == Admin || has(r.Keysets, k)) && ops && alg
						}
						want = want && uid != overflow
						got := p.Decide(Caller{UID: uid}, op, k, a)
						if got.Granted != want || (got.Reason == "") != want {
							t.Fatalf("uid %d %s %s %s: got %+v, want %v under %+v", uid, op, k, a, got, want, rules)
						}
					}
				}
			}
		}
	})
}

func TestGrantedAllocatesNothing(t *testing.T) {
	p := mustNew(t,
		rule(1001, []string{"other"}, []Operation{JWT}, jose.ES256),
		rule(1001, []string{"default"}, []Operation{JWT, Sign}, jose.RS256, jose.ES256),
	)
	c := Caller{UID: 1001, PID: 4}
	if n := testing.AllocsPerRun(1000, func() {
		if !p.Decide(c, Sign, "default", jose.ES256).Granted {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	p := mustNew(b, rule(1001, []string{"default"}, []Operation{JWT}, jose.ES256))
	for b.Loop() {
		p.Decide(Caller{UID: 1001}, JWT, "default", jose.ES256)
	}
}

// Who is known has a rule, by uid or by group, or may read without one; and who has none by uid is one with
// all that are known by the same rule for a group.
func TestIdentity(t *testing.T) {
	group := func(name string, gid uint32, priority int) Rule {
		return token(func(r *Rule) { r.Name, r.UID, r.GID, r.Priority = name, nil, new(gid), priority })
	}
	p := mustNew(t, token(func(r *Rule) {}), group("people", 50, 5), group("few", 51, 7))
	for name, tc := range map[string]struct {
		c    Caller
		want Identity
		none bool
	}{
		"uid":                  {c: Caller{UID: 1}, want: Identity{UID: 1}},
		"uid and group":        {c: Caller{UID: 1, GID: 50}, want: Identity{UID: 1}},
		"primary group":        {c: Caller{UID: 7, GID: 50}, want: Identity{Rule: "people"}},
		"another user of it":   {c: Caller{UID: 100000, GID: 50}, want: Identity{Rule: "people"}},
		"supplementary group":  {c: Caller{UID: 7, Groups: []uint32{3, 50}}, want: Identity{Rule: "people"}},
		"two groups":           {c: Caller{UID: 7, GID: 50, Groups: []uint32{51}}, want: Identity{Rule: "few"}},
		"the other way round":  {c: Caller{UID: 7, GID: 51, Groups: []uint32{50}}, want: Identity{Rule: "few"}},
		"root":                 {c: Caller{UID: 0}, want: Identity{UID: 0}},
		"root in a group":      {c: Caller{UID: 0, GID: 50}, want: Identity{UID: 0}},
		"the daemon":           {c: Caller{UID: options.DaemonUID}, want: Identity{UID: options.DaemonUID}},
		"a stranger":           {c: Caller{UID: 7, GID: 7, Groups: []uint32{8}}, none: true},
		"nobody that is told":  {c: Caller{UID: options.OverflowUID, GID: 50}, none: true},
		"nobody that there is": {c: Caller{UID: noID, GID: 50}, none: true},
	} {
		if got, known := p.Identity(tc.c); got != tc.want || known == tc.none || known && got.Alone() != (tc.want.Rule == "") {
			t.Errorf("%s: %+v, %v", name, got, known)
		}
	}
}
