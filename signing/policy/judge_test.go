package policy

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var noon = time.Unix(1_800_000_000, 0)

// asked is a request for a token on keyset a.
func asked(claims string) Request {
	return Request{
		Operation: JWT, Keyset: "a", Alg: jose.ES256, Typ: "JWT", Now: noon,
		Claims: []byte(claims), Header: []byte(`{"alg":"ES256","typ":"JWT","kid":"k"}`),
	}
}

// Each case is a request that the rule grants, and one that differs only in what the rule does not.
func TestJudgeEachRight(t *testing.T) {
	us := Caller{UID: 1, GID: 2, PID: 3, Groups: []uint32{4, 5}}
	uid := func(id uint32) func(*Rule) { return func(r *Rule) { r.UID = &id } }
	gid := func(id uint32) func(*Rule) { return func(r *Rule) { r.UID, r.GID = nil, &id } }
	types := func(types ...string) func(*Rule) { return func(r *Rule) { r.Types = types } }
	audiences := func(r *Rule) { r.Audiences = []string{"api", "web"} }
	assertion := func(ids ...string) func(*Rule) {
		return func(r *Rule) { r.Operations, r.ClientIDs = []Operation{ClientAssertion}, ids }
	}
	typ := func(typ string) func(*Caller, *Request) { return func(_ *Caller, r *Request) { r.Typ = typ } }
	claims := func(s string) func(*Caller, *Request) {
		return func(_ *Caller, r *Request) { r.Claims = []byte(s) }
	}
	client := func(id string) func(*Caller, *Request) {
		return func(_ *Caller, r *Request) { r.Operation, r.ClientID = ClientAssertion, id }
	}
	both := func(fs ...func(*Rule)) func(*Rule) {
		return func(r *Rule) {
			for _, f := range fs {
				f(r)
			}
		}
	}
	same := func(*Caller, *Request) {}
	for name, tc := range map[string]struct {
		rule      func(*Rule)
		yes, no   func(*Caller, *Request)
		reason    string
		preferred bool // the reason names the rule
	}{
		"uid":                  {uid(1), same, func(c *Caller, _ *Request) { c.UID = 9 }, "uid 9 is not granted operation jwt", false},
		"uid is no gid":        {uid(1), same, func(c *Caller, _ *Request) { c.UID, c.GID, c.Groups = 9, 1, []uint32{1} }, "uid 9 is not granted operation jwt", false},
		"gid is no uid":        {gid(2), same, func(c *Caller, _ *Request) { c.UID, c.GID = 2, 1 }, "uid 2 is not granted operation jwt", false},
		"primary group":        {gid(2), same, func(c *Caller, _ *Request) { c.GID = 9 }, "uid 1 is not granted operation jwt", false},
		"supplementary group":  {gid(5), same, func(c *Caller, _ *Request) { c.Groups = c.Groups[:1] }, "uid 1 is not granted operation jwt", false},
		"overflow in a group":  {gid(5), same, func(c *Caller, _ *Request) { c.UID = overflow }, "uid 65534 is the kernel's overflow uid", false},
		"no user in a group":   {gid(2), same, func(c *Caller, _ *Request) { c.UID = noID }, "uid 4294967295 is the kernel's overflow uid", false},
		"keyset":               {uid(1), same, func(_ *Caller, r *Request) { r.Keyset = "b" }, "uid 1 is not granted operation jwt on keyset b", false},
		"operation":            {uid(1), same, func(_ *Caller, r *Request) { r.Operation = Sign }, "uid 1 is not granted operation sign", false},
		"algorithm":            {uid(1), same, func(_ *Caller, r *Request) { r.Alg = jose.RS256 }, "uid 1 is not granted operation jwt with RS256", false},
		"typ":                  {types("at+jwt"), typ("at+jwt"), typ("JWT"), "only with typ at+jwt; this token has JWT", true},
		"typ in another case":  {types("at+jwt", "JWT"), typ("AT+jwt"), typ("secevent+jwt"), "only with typ at+jwt, JWT", true},
		"typ in full":          {types("at+jwt"), typ("Application/at+jwt"), typ("text/at+jwt"), "only with typ at+jwt", true},
		"typ granted in full":  {types("application/at+jwt"), typ("at+jwt"), typ("application/application/at+jwt"), "only with typ", true},
		"typ with two slashes": {types("application/a/b"), typ("application/a/b"), typ("a/b"), "only with typ", true},
		"typ left out":         {types("JWT"), typ("jwt"), typ(""), "only with typ JWT; this token has none", true},
		"typ that folds":       {types("kb+jwt"), typ("KB+jwt"), typ("\u212ab+jwt"), "only with typ kb+jwt", true},
		"typ of assertions":    {both(assertion("c"), types("JWT")), client("c"), func(c *Caller, r *Request) { client("c")(c, r); r.Typ = "client-authentication+jwt" }, "only with typ JWT", true},
		"client id":            {assertion("c", "d"), client("d"), client("e"), "not for client id e; it grants c, d", true},
		"client id exactly":    {assertion("c"), client("c"), client("C"), "not for client id C; it grants c", true},
		"client id left out":   {assertion("c"), client("c"), client(""), "for client_ids c only; give client_id", true},
		"client id too long":   {assertion("c"), client("c"), client(strings.Repeat("x", 65) + "\n"), "not for client id \"" + strings.Repeat("x", 64) + "\"…; it grants c", true},
		"client id, no word":   {assertion("c"), client("c"), client("x\ny"), `not for client id "x\ny"; it grants c`, true},
		"every client id":      {assertion(All), client("x"), func(_ *Caller, r *Request) { r.Operation = JWT }, "uid 1 is not granted operation jwt", false},
		"aud":                  {audiences, claims(`{"aud":"web"}`), claims(`{"aud":"bank"}`), "only for aud api, web; this token has bank", true},
		"aud of several":       {audiences, claims(`{"aud":["web","api"]}`), claims(`{"aud":["web","bank"]}`), "only for aud api, web; this token has web, bank", true},
		"aud left out":         {audiences, claims(`{"aud":"api"}`), claims(`{}`), "only for aud api, web; this token has no aud", true},
		"aud of none":          {audiences, claims(`{"aud":["api"]}`), claims(`{"aud":[]}`), "only for aud api, web; this token has an empty aud", true},
		"aud of another type":  {audiences, claims(`{"aud":["api"]}`), claims(`{"aud":["api",1]}`), "only for aud api, web; this token has an aud that is neither a string nor a list of strings", true},
		"aud twice":            {audiences, claims(`{"aud":"api"}`), claims(`{"aud":"api","aud":"bank"}`), "it has limits for the claims, and these are no JSON object", true},
		"aud of assertions":    {both(assertion("c"), audiences), func(c *Caller, r *Request) { client("c")(c, r); r.Claims = []byte(`{"aud":"api"}`) }, func(c *Caller, r *Request) { client("c")(c, r); r.Claims = []byte(`{"aud":"bank"}`) }, "only for aud api, web; this token has bank", true},
		"claims":               {func(r *Rule) { r.Claims = "claims.a == 1" }, claims(`{"a":1}`), claims(`{"a":2}`), "its claims expression is false", true},
		"claims of assertions": {both(assertion("c"), func(r *Rule) { r.Claims = "claims.a == 1" }), func(c *Caller, r *Request) { client("c")(c, r); r.Claims = []byte(`{"a":1}`) }, func(c *Caller, r *Request) { client("c")(c, r); r.Claims = []byte(`{"a":2}`) }, "its claims expression is false", true},
	} {
		t.Run(name, func(t *testing.T) {
			p := mustNew(t, token(tc.rule))
			c, r := us, asked("{}")
			tc.yes(&c, &r)
			if v := p.Judge(c, r); !v.Granted || v.Rule != "svc" || v.Reason != "" {
				t.Errorf("not granted: %+v", v)
			}
			c, r = us, asked("{}")
			tc.yes(&c, &r)
			tc.no(&c, &r)
			want := tc.reason
			if tc.preferred {
				want = fmt.Sprintf("caller svc grants uid 1 operation %s on keyset a, but %s", r.Operation, tc.reason)
			}
			if v := p.Judge(c, r); v.Granted || v.Rule != "" || v.Reserve != nil || !strings.HasPrefix(v.Reason, want) {
				t.Errorf("got %+v\nwant %s", v, want)
			}
		})
	}
}

// Root and the daemon may read, by their uid and nothing else, and have no more of anybody's.
func TestJudgeReads(t *testing.T) {
	p := mustNew(t)
	for c, want := range map[uint32]bool{0: true, daemon: true, 7: false, overflow: false} {
		for _, op := range Operations() {
			v := p.Judge(Caller{UID: c}, Request{Operation: op, Keyset: "a", Alg: jose.ES256, Now: noon})
			if want := want && op == Read; v.Granted != want || v.Reserve != nil || want && v.Priority != usualPriority {
				t.Errorf("uid %d %s: %+v", c, op, v)
			}
		}
	}
	if p.Judge(Caller{UID: 7, Groups: []uint32{0, daemon}}, Request{Operation: Read, Keyset: "a"}).Granted {
		t.Error("root's group reads")
	}
}

// Rules add up, but do not lend each other parts.
func TestJudgeEachRuleWhole(t *testing.T) {
	p := mustNew(t,
		token(func(r *Rule) { r.Types, r.Audiences = []string{"JWT"}, []string{"api"} }),
		token(func(r *Rule) { r.Types, r.Audiences = []string{"at+jwt"}, []string{"web"} }),
		token(func(r *Rule) { r.Claims, r.Algorithms = "claims.aud == 'bank'", []jose.SignatureAlgorithm{jose.RS256} }),
	)
	for _, tc := range []struct {
		typ, aud string
		alg      jose.SignatureAlgorithm
		want     bool
	}{
		{"JWT", "api", jose.ES256, true}, {"at+jwt", "web", jose.ES256, true}, {"x", "bank", jose.RS256, true},
		{"JWT", "web", jose.ES256, false}, {"at+jwt", "api", jose.ES256, false}, {"JWT", "bank", jose.ES256, false}, {"JWT", "api", jose.RS256, false},
	} {
		r := asked(`{"aud":"` + tc.aud + `"}`)
		r.Typ, r.Alg = tc.typ, tc.alg
		if v := p.Judge(Caller{UID: 1}, r); v.Granted != tc.want {
			t.Errorf("%+v: %+v", tc, v)
		}
	}
}

// Of the rules that grant a request, the one with the highest priority does, then the one with
// the highest rate, then the first.
func TestJudgePrefers(t *testing.T) {
	named := func(name string, priority int, rate float64, change func(*Rule)) Rule {
		return token(func(r *Rule) {
			r.Name, r.Priority, r.Rate = name, priority, rate
			if change != nil {
				change(r)
			}
		})
	}
	group := func(r *Rule) { r.UID, r.GID = nil, new(uint32(2)) }
	for name, tc := range map[string]struct {
		rules []Rule
		want  string
	}{
		"priority":               {[]Rule{named("a", 3, 0, nil), named("b", 7, 1, nil), named("c", 5, 0, nil)}, "b"},
		"no limit":               {[]Rule{named("a", 5, 10, nil), named("b", 5, 0, nil)}, "b"},
		"rate":                   {[]Rule{named("a", 5, 10, nil), named("b", 5, 20, nil)}, "b"},
		"first":                  {[]Rule{named("a", 5, 10, nil), named("b", 5, 10, nil)}, "a"},
		"a group's":              {[]Rule{named("a", 5, 0, nil), named("b", 6, 0, group)}, "b"},
		"not a group's":          {[]Rule{named("b", 5, 0, group), named("a", 6, 0, nil)}, "a"},
		"one that does not hold": {[]Rule{named("a", 5, 0, nil), named("b", 9, 0, func(r *Rule) { r.Claims = "now < 0" })}, "a"},
	} {
		v := mustNew(t, tc.rules...).Judge(Caller{UID: 1, GID: 2, Groups: []uint32{2}}, asked("{}"))
		if v.Rule != tc.want || (v.Reserve != nil) != (tc.rules[len(tc.rules)-1].Rate > 1 || name == "priority") && name != "no limit" {
			t.Errorf("%s: %+v", name, v)
		}
		for _, r := range tc.rules {
			if r.Name == tc.want && v.Priority != r.Priority {
				t.Errorf("%s: priority %d", name, v.Priority)
			}
		}
	}
}

func TestGrants(t *testing.T) {
	names := func(rules []Rule) (names []string) {
		for _, r := range rules {
			names = append(names, r.Name)
		}
		return names
	}
	p := mustNew(t,
		token(func(r *Rule) { r.Name = "one" }),
		token(func(r *Rule) { r.Name, r.UID = "other", new(uint32(2)) }),
		token(func(r *Rule) { r.Name, r.UID, r.GID, r.Priority = "group", nil, new(uint32(5)), 8 }),
	)
	for want, c := range map[string]Caller{
		"[group one]": {UID: 1, GID: 5, Groups: []uint32{5, 6, 5}},
		"[one]":       {UID: 1},
		"[group]":     {UID: 9, Groups: []uint32{6, 5, 5}},
		"[]":          {UID: overflow, GID: 5},
	} {
		if got := fmt.Sprint(names(p.Grants(c))); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := p.Grants(Caller{UID: 1})[0]; !reflect.DeepEqual(got, token(func(r *Rule) { r.Name = "one" })) {
		t.Errorf("got %+v", got)
	}
}

func TestJudgeWithoutLimitsAllocatesNothing(t *testing.T) {
	p := mustNew(t,
		rule(1001, []string{"other"}, []Operation{JWT}, jose.ES256),
		rule(1001, []string{"default"}, []Operation{JWT, Sign}, jose.RS256, jose.ES256),
		token(func(r *Rule) { r.UID, r.GID = nil, new(uint32(9)) }),
	)
	c := Caller{UID: 1001, PID: 4, Groups: []uint32{1, 2, 3}}
	r := asked(`{"aud":"x"}`)
	r.Keyset = "default"
	if n := testing.AllocsPerRun(1000, func() {
		if !p.Judge(c, r).Granted {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkJudge(b *testing.B) {
	for name, change := range map[string]func(*Rule){
		"plain":  nil,
		"limits": func(r *Rule) { r.Audiences, r.Rate = []string{"api"}, 1000 },
		"claims": func(r *Rule) { r.Claims = `claims.exp - now <= 3600 && claims.aud == "api"` },
	} {
		b.Run(name, func(b *testing.B) {
			p := mustNew(b, token(change))
			r := asked(`{"iss":"https://issuer.example","aud":"api","exp":1800000060,"sub":"somebody","scope":"a b c"}`)
			for b.Loop() {
				if !p.Judge(Caller{UID: 1}, r).Granted {
					b.Fatal("refused")
				}
			}
		})
	}
}

// The users of a group have one share of the token, however many they are; one that has a rule of
// its own has its own.
func TestOwner(t *testing.T) {
	p := mustNew(t,
		token(func(r *Rule) { r.Priority = 9 }),
		token(func(r *Rule) { r.Name, r.UID, r.GID = "members", nil, new(uint32(5)) }),
	)
	for uid, want := range map[uint32]string{1: "uid 1", 2: "group rule members", 3: "group rule members"} {
		if v := p.Judge(Caller{UID: uid, GID: 5}, asked("{}")); !v.Granted || v.Owner != want {
			t.Errorf("uid %d: %+v", uid, v)
		}
	}
	if v := p.Judge(Caller{UID: 4}, asked("{}")); v.Granted || v.Owner != "" {
		t.Errorf("refused: %+v", v)
	}
}

// Who may call setgroups(2) in a user namespace can name one group 65,536 times, and has its rules judged once.
func TestAGroupGivenTwiceCountsOnce(t *testing.T) {
	p := mustNew(t, token(func(r *Rule) { r.UID, r.GID = nil, new(uint32(5)) }))
	for _, groups := range [][]uint32{{5, 5, 5}, {5, 6, 5}, {2, 5}, {4, 5, 5}} {
		n := 0
		for range p.all(Caller{UID: 1, GID: 2, Groups: groups}) {
			n++
		}
		if n != 1 {
			t.Errorf("%v: %d times", groups, n)
		}
	}
	n := 0
	for range p.all(Caller{UID: 1, GID: 5, Groups: []uint32{5, 5}}) {
		n++
	}
	if n != 1 {
		t.Errorf("the primary group's: %d times", n)
	}
}

// A number that a verifier may read as another denies where an expression looks, and nowhere else.
func TestInexactNumbers(t *testing.T) {
	expression := mustNew(t, token(func(r *Rule) { r.Claims = `claims.n != 9007199254740992 && claims.n != 1.0` }))
	audience := mustNew(t, token(func(r *Rule) { r.Audiences = []string{"api"} }))
	for n, ok := range map[string]bool{
		"9007199254740991": true, "9007199254740993": false, "-9007199254740993": false, "9007199254740994": true, "9223372036854775808": false,
		"1e400": false, "1.00000000000000000000000001": false, "1.5": true, "1e-400": false, "[{\"x\":[9007199254740993]}]": false,
	} {
		r := asked(`{"aud":"api","n":` + n + `,"m":1}`)
		if v := expression.Judge(Caller{UID: 1}, r); v.Granted != ok || !ok && !strings.Contains(v.Reason, "but it has limits for the claims, and these have a number that verifiers may read as another") {
			t.Errorf("%s: %+v", n, v)
		}
		if v := audience.Judge(Caller{UID: 1}, r); !v.Granted {
			t.Errorf("%s: only the audience is limited: %+v", n, v)
		}
	}
	r := asked(`{"aud":"api","n":2}`)
	r.Header = []byte(`{"typ":"JWT","n":9007199254740993}`)
	if v := expression.Judge(Caller{UID: 1}, r); v.Granted || !strings.Contains(v.Reason, "limits for the header, and its members have a number") {
		t.Errorf("header: %+v", v)
	}
	if v := audience.Judge(Caller{UID: 1}, r); !v.Granted {
		t.Errorf("header: only the audience is limited: %+v", v)
	}
}
