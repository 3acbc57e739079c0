package signing

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	v1 "keysetd.example/api/v1"
)

func TestCallerTyp(t *testing.T) {
	for value, want := range map[string]string{
		`"JWT"`: "JWT", `"at+jwt"`: "at+jwt", `"application/at+jwt"`: "application/at+jwt", `"\u004aWT"`: "JWT",
	} {
		got, err := HeaderSettings{}.judge(map[string]jsontext.Value{"typ": jsontext.Value(value)})
		if err != nil || got.typ != want || got.more != nil {
			t.Errorf("%s: %q, %v", value, got, err)
		}
	}
	if got, err := (HeaderSettings{}).judge(nil); err != nil || got.typ != "" {
		t.Errorf("nothing asked: %q, %v", got, err)
	}
	for _, typ := range []string{`1`, `null`, `""`, `"a b"`, `"a\"b"`, `"é"`, `"a/b"`, `"application/"`, `"` + strings.Repeat("a", 65) + `"`} {
		if got, err := (HeaderSettings{}).judge(map[string]jsontext.Value{"typ": jsontext.Value(typ)}); reasonOf(err) != v1.BadHeader {
			t.Errorf("typ %s: %q, %v", typ, got, err)
		}
	}
}

// No setting opens these to callers; without one, nothing but typ is open.
func TestParametersNeverTheCallers(t *testing.T) {
	names := append([]string{"TYP", "cty", "nonce", ""}, FixedParameters()...)
	for _, name := range names {
		_, err := HeaderSettings{X5C: true, X5TS256: true, JKU: "https://a.example", Allow: []string{"other"}}.judge(
			map[string]jsontext.Value{"typ": jsontext.Value(`"JWT"`), name: jsontext.Value(`"x"`)})
		if reasonOf(err) != v1.BadHeader || !strings.Contains(err.Error(), `"`+name+`"`) {
			t.Errorf("header parameter %q: %v", name, err)
		}
		_, err = parseProtected(fmt.Appendf(nil, `{"alg":"ES256","kid":"k",%q:"x"}`, name), HeaderSettings{Allow: []string{"other"}})
		if r := reasonOf(err); name != "alg" && name != "kid" && r != v1.BadHeader {
			t.Errorf("in a signing input, %q: %v", name, err)
		}
	}
}

func TestSettingsChecked(t *testing.T) {
	for _, name := range slices.Concat(FixedParameters(), []string{"ALG", "X5t#s256", "B64", "typ", "Typ", "", "\xff", "a\x00", "a\u0085"}) {
		if err := (HeaderSettings{Allow: []string{name}}).check(); err == nil {
			t.Errorf("%q can be allowed", name)
		}
	}
	for name, s := range map[string]HeaderSettings{
		"allowed twice":  {Allow: []string{"nonce", "nonce"}},
		"two spellings":  {Allow: []string{"nonce", "Nonce"}},
		"jku no URL":     {JKU: "jwks.json"},
		"jku no host":    {JKU: "file:///etc/passwd"},
		"jku not UTF-8":  {JKU: "https://a.example/\xff"},
		"type with a /":  {Types: []string{"text/plain"}},
		"type empty":     {Types: []string{""}},
		"assertions":     {Types: []string{"at+jwt", "Application/Client-Authentication+JWT"}},
		"type with a \"": {Types: []string{`a"b`}},
	} {
		if err := s.check(); err == nil || !strings.HasPrefix(err.Error(), "header: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (HeaderSettings{NoKID: true, X5C: true, JKU: "https://a.example/jwks.json", Allow: []string{"cty", "nonce"}, Types: []string{"at+jwt", "application/jwt"}}).check(); err != nil {
		t.Error(err)
	}
	if err := (AssertionSettings{Typ: "at+jwt"}).check(); err == nil {
		t.Error("client assertions of typ at+jwt")
	}
	if err := (AssertionSettings{MaxLifetime: -1}).check(); err == nil {
		t.Error("client assertions that live for less than no time")
	}
}

func TestTypes(t *testing.T) {
	s := HeaderSettings{Types: []string{"at+jwt", "application/logout+jwt"}}
	for typ, taken := range map[string]bool{
		"at+jwt": true, "AT+JWT": true, "application/at+jwt": true, "logout+jwt": true, "application/Logout+jwt": true, "APPLICATION/at+jwt": true,
		"JWT": false, "": false, "at": false, "at+jwt+x": false,
	} {
		if (s.judgeTaken(typ) == nil) != taken {
			t.Errorf("typ %q: taken %v", typ, !taken)
		}
		header := `{"alg":"ES256","kid":"k"}`
		if typ != "" {
			header = `{"alg":"ES256","kid":"k","typ":"` + typ + `"}`
		}
		if _, err := parseProtected([]byte(header), s); (err == nil) != taken {
			t.Errorf("%s: %v", header, err)
		}
	}
	for _, typ := range []string{"client-authentication+jwt", "Client-Authentication+JWT", "application/client-authentication+jwt", "APPLICATION/CLIENT-AUTHENTICATION+JWT"} {
		if err := (HeaderSettings{}).judgeTaken(typ); reasonOf(err) != v1.BadHeader || !strings.Contains(err.Error(), "operation client-assertion") {
			t.Errorf("typ %q: %v", typ, err)
		}
	}
	if (HeaderSettings{}).judgeTaken("") != nil || (HeaderSettings{}).judgeTaken("x") != nil {
		t.Error("without types every typ is taken")
	}
}

func TestAllowedParameters(t *testing.T) {
	s := HeaderSettings{Allow: []string{"nonce", "é\"", "cty"}}
	got, err := s.judge(map[string]jsontext.Value{
		"typ": jsontext.Value(`"x"`), "nonce": jsontext.Value(` { "a" : [ 1.50 , "\u0041" ] } `), "cty": jsontext.Value(`null`), "é\"": jsontext.Value(`1`),
	})
	if want := `,"cty":null,"nonce":{"a":[1.50,"\u0041"]},"é\"":1`; err != nil || string(got.more) != want || got.typ != "x" {
		t.Errorf("got %s, %v; want %s", got.more, err, want)
	}
	fits := jsontext.Value(`"` + strings.Repeat("x", maxMore-len("nonce")-2) + `"`)
	if _, err := s.judge(map[string]jsontext.Value{"nonce": fits}); err != nil {
		t.Errorf("4 KiB: %v", err)
	}
	for name, h := range map[string]map[string]jsontext.Value{
		"too large":     {"nonce": jsontext.Value(string(fits[:1]) + string(fits))},
		"together":      {"nonce": fits, "cty": jsontext.Value(`1`)},
		"no JSON":       {"nonce": jsontext.Value(`{`)},
		"nothing":       {"nonce": nil},
		"two values":    {"nonce": jsontext.Value(`1,"alg":"none"`)},
		"twice inside":  {"nonce": jsontext.Value(`{"a":1,"a":2}`)},
		"not UTF-8":     {"nonce": jsontext.Value("\"\xff\"")},
		"bottomless":    {"nonce": jsontext.Value(strings.Repeat("[", 100) + strings.Repeat("]", 100))},
		"1e400":         {"nonce": jsontext.Value(`[1e400]`)},
		"2^53":          {"nonce": jsontext.Value(`{"a":9007199254740992}`)},
		"two spellings": {"nonce": jsontext.Value(`1`), "NONCE": jsontext.Value(`1`)},
		"control":       {"nonce\x00": jsontext.Value(`1`)},
		"in other case": {"Nonce": jsontext.Value(`1`)},
	} {
		_, err := s.judge(h)
		want := v1.BadHeader
		if name == "too large" || name == "together" {
			want = v1.TooLarge
		}
		if reasonOf(err) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What keysetd writes for a key is what it takes back, whatever the kid and the caller's values.
func TestOwnHeaderIsTakenBack(t *testing.T) {
	settings := HeaderSettings{X5C: true, X5TS256: true, JKU: `https://a.example/é"?`, Allow: []string{"nonce"}}
	chain := [][]byte{{0xff, 0xfe, 0xfb}, {2}}
	rapid.Check(t, func(t *rapid.T) {
		kid := rapid.StringN(1, -1, 200).Draw(t, "kid")
		nonce, _ := jsontext.AppendQuote(nil, rapid.String().Draw(t, "nonce"))
		if len(nonce) > maxMore-10 {
			return
		}
		asked, err := settings.judge(map[string]jsontext.Value{"typ": jsontext.Value(`"a+b"`), "nonce": nonce})
		if err != nil {
			t.Fatal(err)
		}
		own := newOwnHeader("ES256", kid, settings, chain)
		for _, h := range []jwsHeader{own.plain, own.with(asked)} {
			raw, err := base64.RawURLEncoding.DecodeString(h.encoded)
			if err != nil || string(raw) != string(h.raw) {
				t.Fatalf("%s is not %s", h.encoded, h.raw)
			}
			got, err := parseProtected(raw, settings)
			if err == nil {
				err = got.judgeOwn(&own)
			}
			if err != nil || got.kid != kid || got.alg != "ES256" || len(got.own) != 3 {
				t.Fatalf("%s: %+v, %v", raw, got, err)
			}
		}
	})
}

func TestOwnHeaderInOneOrder(t *testing.T) {
	chain := [][]byte{{0xff, 0xfe, 0xfb}, {2}}
	more := askedHeader{typ: "at+jwt", more: []byte(`,"nonce":1`)}
	for want, s := range map[string]HeaderSettings{
		`{"alg":"ES256","kid":"k","typ":"at+jwt","nonce":1}`:                       {},
		`{"alg":"ES256","typ":"at+jwt","nonce":1}`:                                 {NoKID: true},
		`{"alg":"ES256","kid":"k","typ":"at+jwt","x5c":["//77","Ag=="],"nonce":1}`: {X5C: true},
		`{"alg":"ES256","typ":"at+jwt","x5c":["//77","Ag=="],"x5t#S256":"alrWEuWrofK4ugkzeZAV-zMWwV56fLoHN6EY2bdutc4","jku":"https://a.example/j","nonce":1}`: {NoKID: true, X5C: true, X5TS256: true, JKU: "https://a.example/j"},
	} {
		own := newOwnHeader("ES256", "k", s, chain)
		if got := string(own.with(more).raw); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	own := newOwnHeader("ES256", "k", HeaderSettings{X5C: true, X5TS256: true}, nil)
	if got := string(own.plain.raw); got != `{"alg":"ES256","kid":"k","typ":"JWT"}` {
		t.Errorf("a key without a chain: %s", got)
	}
}

// What is the key's to say may stand in a signing input as the key says it, in any spelling.
func TestOwnParametersInSigningInput(t *testing.T) {
	settings := HeaderSettings{X5C: true, X5TS256: true, JKU: "https://a.example/j"}
	own := newOwnHeader("ES256", "k", settings, [][]byte{{0xff, 0xfe, 0xfb}, {2}})
	bare := newOwnHeader("ES256", "k", settings, nil)
	for member, good := range map[string]bool{
		`"x5c":["//77","Ag=="]`:         true,
		`"x5c":[ "\/\/77", "Ag==" ]`:    true,
		`"x5c":["//77"]`:                false,
		`"x5c":["Ag==","//77"]`:         false,
		`"x5c":["//77","Ag==","AA=="]`:  false,
		`"x5c":"//77"`:                  false,
		`"x5c":null`:                    false,
		`"x5c":[]`:                      false,
		`"jku":"https:\/\/a.example/j"`: true,
		`"jku":"https://a.example/J"`:   false,
		`"x5t#S256":"x"`:                false,
	} {
		h, err := parseProtected([]byte(`{"alg":"ES256","kid":"k",`+member+`}`), settings)
		if err != nil {
			t.Errorf("%s: %v", member, err)
			continue
		}
		if err := h.judgeOwn(&own); (err == nil) != good || !good && reasonOf(err) != v1.BadHeader {
			t.Errorf("%s: %v", member, err)
		}
		if err := h.judgeOwn(&bare); !strings.HasPrefix(member, `"jku"`) && err == nil {
			t.Errorf("%s, of a key without a chain: taken", member)
		}
	}
}

// A keyset without kid in the header has none in signing inputs either.
func TestNoKID(t *testing.T) {
	none := HeaderSettings{NoKID: true}
	if h, err := parseProtected([]byte(`{"alg":"ES256"}`), none); err != nil || h.kid != "" {
		t.Errorf("%+v, %v", h, err)
	}
	if _, err := parseProtected([]byte(`{"alg":"ES256","kid":"k"}`), none); reasonOf(err) != v1.BadHeader {
		t.Errorf("a kid: %v", err)
	}
}
