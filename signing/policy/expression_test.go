package policy

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestExpression(t *testing.T) {
	const falseOne, fails, tooLong = "its claims expression is false", "its claims expression fails", "its claims expression takes too long"
	for expression, tc := range map[string]struct{ claims, reason string }{
		`claims.exp - now <= 3600 && claims.aud == "api"`: {`{"exp":1800003600,"aud":"api"}`, ""},
		`claims.exp - now < 3600`:                         {`{"exp":1800003600}`, falseOne},
		`claims.exp - now <= 3600`:                        {`{"exp":1800003600.5}`, fails}, // a double and an int are not added up
		`type(claims.n) == int && claims.n == 1000`:       {`{"n":1e3}`, ""},
		`type(claims.o.n[1]) == int`:                      {`{"o":{"n":["x",9223372036854775807]}}`, ""},
		`type(claims.n) == double`:                        {`{"n":9223372036854775808}`, ""},
		`type(claims.n) == double && claims.n > 0`:        {`{"n":0.5}`, ""},
		`claims.n == null && claims.b && claims.l == []`:  {`{"n":null,"b":true,"l":[]}`, ""},
		`claims.missing == 1`:                             {`{"secret":1}`, fails},
		`!has(claims.missing)`:                            {`{}`, ""},
		`claims.sub.startsWith("svc-")`:                   {`{"sub":5}`, fails},
		`claims.missing == 1 || true`:                     {`{}`, ""}, // CEL's or: an error that does not matter
		`int(claims.sub) > 0`:                             {`{"sub":"secret"}`, fails},
		`claims.n / 0 == 1`:                               {`{"n":1}`, fails},
		`claims.sub.matches("^svc-[a-z]+$")`:              {`{"sub":"svc-x"}`, ""},
		`claims.sub.matches(claims.p)`:                    {`{"sub":"x","p":"a{999}b{999}c{999}|x"}`, fails},
		`header.typ == "JWT" && header.kid == "k"`:        {`{}`, ""},
		`caller.uid == 1 && caller.gid == 2 && caller.pid == 3 && 4 in caller.groups && !(5 in caller.groups)`: {`{}`, ""},
		`now == 1800000000`:                                                  {`{}`, ""},
		`claims.roles.all(r, r in ["a", "b"])`:                               {`{"roles":["a","b"]}`, ""},
		`claims.l.all(a, claims.l.all(b, claims.l.all(c, a + b + c > 0)))`:   {`{"l":[` + strings.Repeat("1,", 200) + `1]}`, tooLong},
		`claims.l.map(a, claims.l.map(b, claims.l.map(c, c))).size() > 1000`: {`{"l":[` + strings.Repeat("1,", 200) + `1]}`, tooLong},
	} {
		p := mustNew(t, token(func(r *Rule) { r.Claims = expression }))
		v := p.Judge(Caller{UID: 1, GID: 2, PID: 3, Groups: []uint32{4}}, asked(tc.claims))
		if v.Granted != (tc.reason == "") || tc.reason != "" && !strings.HasPrefix(v.Reason, "rule svc grants uid 1 operation jwt on keyset a, but "+tc.reason) {
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
	limited := mustNew(t, token(func(r *Rule) { r.Claims = "true" }))
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
	if v := limited.Judge(Caller{UID: 1}, r); v.Granted || !strings.Contains(v.Reason, "but it has limits for the header, and this one ") {
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
	for s, want := range map[string]any{
		"100e-2": int64(1), "1e18": int64(1e18), "1E+3": int64(1000), "12.50e1": int64(125), "1e19": 1e19, "1e-1": 0.1,
		"9223372036854775807": int64(1<<63 - 1), "-9223372036854775808": int64(-1 << 63), "9223372036854775807.0": int64(1<<63 - 1),
		"9223372036854775808": float64(1 << 63), "9007199254740992.5": 9007199254740992.0, "0e99999999999999999999": int64(0),
		"1e-400": 0.0, "5e300": 5e300, "1.00000000000000000000000001": 1.0,
	} {
		if got, err := number(s); err != nil || got != want {
			t.Errorf("%s: %T %v, %v", s, got, got, err)
		}
	}
}

// A whole number is the same int, however it is written.
func TestNumberIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.Int64().Draw(t, "number")
		zeros := rapid.IntRange(0, 30).Draw(t, "zeros")
		for _, s := range []string{fmt.Sprint(i), fmt.Sprintf("%d.%s", i, strings.Repeat("0", zeros+1)), fmt.Sprintf("%d%se-%d", i, strings.Repeat("0", zeros), zeros)} {
			if got, err := number(s); err != nil || got != i {
				t.Fatalf("%s: %T %v, %v", s, got, got, err)
			}
		}
	})
}
