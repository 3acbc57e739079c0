package policy

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestExpression(t *testing.T) {
	const falseOne, fails, tooLong = "its claims expression is false", "its claims expression fails", "its claims expression takes too long"
	for expression, tc := range map[string]struct{ claims, reason string }{
		`claims.exp - now <= 3600 && claims.aud == "api"`:  {`{"exp":1800003600,"aud":"api"}`, ""},
		`claims.exp - now < 3600`:                          {`{"exp":1800003600}`, falseOne},
		`claims.exp - now <= 3600`:                         {`{"exp":1800003600.5}`, fails}, // a double and an int are not added up
		`type(claims.n) == int && claims.n == 1000`:        {`{"n":1e3}`, ""},
		`type(claims.o.n[1]) == int`:                       {`{"o":{"n":["x",9223372036854774784]}}`, ""},
		`type(claims.n) == double && claims.n > 0`:         {`{"n":0.5}`, ""},
		`claims.n == null && claims.b && claims.l == []`:   {`{"n":null,"b":true,"l":[]}`, ""},
		`claims.missing == 1`:                              {`{"secret":1}`, fails},
		`!has(claims.missing)`:                             {`{}`, ""},
		`claims.sub.startsWith("svc-")`:                    {`{"sub":5}`, fails},
		`claims.missing == 1 || true`:                      {`{}`, ""}, // CEL's or: an error that does not matter
		`int(claims.sub) > 0`:                              {`{"sub":"secret"}`, fails},
		`claims.n / 0 == 1`:                                {`{"n":1}`, fails},
		`claims.sub.matches("^svc-[a-z]+$")`:               {`{"sub":"svc-x"}`, ""},
		`!claims.sub.matches("[a-z]{1,300}[0-9]{1,300}$")`: {`{"sub":"` + strings.Repeat("x", 3000) + `"}`, tooLong},
		`claims.sub.matches("[a-z]{1,900}$") || now > 0`:   {`{"sub":"` + strings.Repeat("x", 3000) + `"}`, ""}, // not begun, or its cost would end all
		`matches(claims.sub, "^svc")`:                      {`{"sub":"svc-x"}`, ""},
		`dyn(claims.sub).matches("^svc")`:                  {`{"sub":5}`, fails},
		`claims.l.all(a, false) || claims.m == 1`:          {`{"l":[1]}`, fails},
		`header.typ == "JWT" && header.kid == "k"`:         {`{}`, ""},
		`caller.uid == 1 && caller.gid == 2 && caller.pid == 3 && 4 in caller.groups && !(5 in caller.groups)`: {`{}`, ""},
		`now == 1800000000`:                                                  {`{}`, ""},
		`claims.roles.all(r, r in ["a", "b"])`:                               {`{"roles":["a","b"]}`, ""},
		`claims.l.all(a, claims.l.all(b, claims.l.all(c, a + b + c > 0)))`:   {`{"l":[` + strings.Repeat("1,", 200) + `1]}`, tooLong},
		`claims.l.map(a, claims.l.map(b, claims.l.map(c, c))).size() > 1000`: {`{"l":[` + strings.Repeat("1,", 200) + `1]}`, tooLong},
	} {
		p := mustNew(t, token(func(r *Rule) { r.Claims = expression }))
		v := p.Judge(Caller{UID: 1, GID: 2, PID: 3, Groups: []uint32{4}}, asked(tc.claims))
		if v.Granted != (tc.reason == "") || tc.reason != "" && !strings.HasPrefix(v.Reason, "caller svc grants uid 1 operation jwt on keyset a, but "+tc.reason) {
			t.Errorf("%s over %.60s: %+v", expression, tc.claims, v)
		}
		if strings.Contains(v.Reason, "secret") || strings.Contains(v.Reason, "missing ==") {
			t.Errorf("%s: the reason tells of the claims: %s", expression, v.Reason)
		}
	}
}

func TestExpressionIsInterrupted(t *testing.T) {
	e, err := compile(`claims.l.all(a, a > 0)`)
	if err != nil {
		t.Fatal(err)
	}
	var f facts
	if err := f.read(Caller{}, asked(`{"l":[`+strings.Repeat("1,", 500)+`1]}`)); err != nil {
		t.Fatal(err)
	}
	if got := e.eval(t.Context(), &f); got != "" {
		t.Errorf("in time: %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := e.eval(ctx, &f); !strings.Contains(got, "takes too long") {
		t.Errorf("got %q", got)
	}
}

// What cannot be read is refused by rules that limit it, and by them only.
func TestUnreadableClaims(t *testing.T) {
	limited := mustNew(t, token(func(r *Rule) { r.Claims = "now > 0" }))
	free := mustNew(t, token(nil))
	for _, claims := range []string{
		``, `null`, `[]`, `{`, `{"a":}`, `{"a":1} x`, `{"a":1,"a":1}`, `{"a":{"b":1,"b":2}}`, "{\"a\":\"\xff\"}", `{"a":1e400}`, `{"a":-1e99999999999999999999}`,
		`{"a":[1,}`, `{"a":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, `{"a":01}`,
	} {
		if v := limited.Judge(Caller{UID: 1}, asked(claims)); v.Granted || !strings.Contains(v.Reason, "but it has limits for the claims, and these ") {
			t.Errorf("%.40q: %+v", claims, v)
		}
		if !free.Judge(Caller{UID: 1}, asked(claims)).Granted {
			t.Errorf("%.40q: refused without a limit", claims)
		}
	}
	r := asked("{}")
	r.Header = []byte(`{"typ":"a","typ":"b"}`)
	if v := limited.Judge(Caller{UID: 1}, r); v.Granted || !strings.Contains(v.Reason, "but it has limits for the header, and its members ") {
		t.Errorf("header: %+v", v)
	}
}

func TestObject(t *testing.T) {
	got, err := object([]byte(`{"a":{"b":[1,2.0,-0,-0.0,1.5,"x",null,true,false,{}]},"c":[]}`))
	want := map[string]any{
		"a": map[string]any{"b": []any{int64(1), int64(2), int64(0), int64(0), 1.5, "x", nil, true, false, map[string]any{}}},
		"c": []any{},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, %v", got, err)
	}
	if got, err := object([]byte(`{"aud":"x","a":[{"b":9007199254740993}]}`)); !errors.Is(err, errInexact) || got["aud"] != "x" {
		t.Errorf("got %#v, %v", got, err)
	}
}

// Whoever can write claims must not hold up the daemon: what an expression does with them is bounded, by
// cost, and what is done a few times only costs what it is. By the library's own reckoning
// seconds went by.
func TestExpressionCostIsBounded(t *testing.T) {
	list := func(s string, n int) string { return `[` + strings.TrimSuffix(strings.Repeat(s+",", n), ",") + `]` }
	deepList := `[` + list("1", 10_000) + `]`
	long := strings.Repeat("1h", 20_000)
	for name, tc := range map[string]struct{ expression, claims string }{
		"nested lists":  {`claims.l.all(a, claims.l.exists(b, a + b > 1))`, `{"l":` + list("0", 30_000) + `}`},
		"equal lists":   {`claims.l.all(x, claims.a == claims.b)`, `{"l":` + list("1", 200) + `,"a":` + deepList + `,"b":` + deepList + `}`},
		"unequal lists": {`claims.l.all(x, !(claims.a != claims.b))`, `{"l":` + list("1", 200) + `,"a":` + deepList + `,"b":` + deepList + `}`},
		"equal maps":    {`claims.l.all(x, claims.a == claims.b)`, `{"l":` + list("1", 200) + `,"a":{"x":` + deepList + `},"b":{"x":` + deepList + `}}`},
		"in":            {`claims.l.all(x, x in claims.m)`, `{"l":` + list("1", 200) + `,"m":[` + strings.Repeat("2,", 9000) + `1]}`},
		"in, deep":      {`claims.l.all(x, claims.a in claims.b)`, `{"l":` + list("1", 200) + `,"a":` + deepList + `,"b":[` + deepList + `]}`},
		"a pattern":     {`!claims.s.matches("[a-z]{1,900}$")`, `{"s":"` + strings.Repeat("a", 60_000) + `0"}`},
		"many patterns": {`claims.l.all(s, !s.matches("([a-z]*[a-z]{1,100}){1,2}$"))`, `{"l":` + list(`"`+strings.Repeat("a", 60)+`0"`, 90) + `}`},
		"addition":      {`claims.l.all(x, claims.s + claims.s != "")`, `{"l":` + list("1", 200) + `,"s":"` + long + `"}`},
		"size":          {`claims.l.all(x, claims.s.size() > 0)`, `{"l":` + list("1", 200) + `,"s":"` + long + `"}`},
		"conversion":    {`claims.l.all(x, duration(claims.s) > duration("0s") || true)`, `{"l":` + list("1", 200) + `,"s":"` + long + `"}`},
		"time zones":    {`claims.l.all(x, timestamp(now).getHours(claims.s) >= 0)`, `{"l":` + list("1", 200) + `,"s":"Europe/Berlin"}`},
		"doubled lists": {`[claims.l]` + strings.Repeat(`.map(x, x + x)`, 60) + `.size() > 0`, `{"l":[1]}`},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := compile(tc.expression)
			if err != nil {
				t.Fatal(err)
			}
			var f facts
			if err := f.read(Caller{}, asked(tc.claims)); err != nil {
				t.Fatal(err)
			}
			if len(tc.claims) > 64<<10 {
				t.Fatal("more claims than are signed")
			}
			if got := e.eval(t.Context(), &f); !strings.Contains(got, "takes too long") { // without a deadline
				t.Errorf("got %q", got)
			}
		})
	}
}

// All expressions that look at a request have one span of time.
func TestExpressionsShareTheirTime(t *testing.T) {
	e, err := compile(`claims.l.all(a, a > 0)`)
	if err != nil {
		t.Fatal(err)
	}
	var f facts
	if err := f.read(Caller{}, asked(`{"l":[`+strings.Repeat("1,", 500)+`1]}`)); err != nil {
		t.Fatal(err)
	}
	if got := e.against(&f); got != "" {
		t.Errorf("in time: %s", got)
	}
	f.until = time.Now()
	if got := e.against(&f); !strings.Contains(got, "takes too long") {
		t.Errorf("got %q", got)
	}
}

// One program serves many requests at once.
func TestExpressionAtOnce(t *testing.T) {
	p := mustNew(t, token(func(r *Rule) {
		r.Claims = `claims.n == 7 && claims.sub.matches("^s") && claims.l.all(x, x in [1, 2]) && caller.uid == 1`
	}))
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for range 100 {
				if v := p.Judge(Caller{UID: 1}, asked(fmt.Sprintf(`{"n":%d,"sub":"s","l":[1,2]}`, n))); v.Granted != (n == 7) {
					t.Errorf("%d: %+v", n, v)
				}
			}
		})
	}
	all.Wait()
}
