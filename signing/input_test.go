package signing

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	v1 "keysetd.example/api/v1"
)

func segment(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

const goodHeader = `{"alg":"ES256","kid":"k","typ":"JWT"}`

func TestSigningInputTakenApart(t *testing.T) {
	for _, header := range []string{goodHeader, `{"kid":"k","alg":"ES256"}`, ` { "typ":"at+jwt", "alg":"ES256","kid":"k" } `} {
		in, err := parseSigningInput(segment(header)+"."+segment(`{"exp":1}`), HeaderSettings{}, minProtected)
		if err != nil || in.header.alg != "ES256" || in.header.kid != "k" || string(in.claims) != `{"exp":1}` {
			t.Errorf("%s: %+v, %v", header, in, err)
		}
	}
}

func TestSigningInputRefused(t *testing.T) {
	claims := segment(`{"exp":1800000060}`)
	good := segment(goodHeader)
	for name, test := range map[string]struct {
		input  string
		reason v1.Reason
	}{
		"empty":               {"", v1.BadSigningInput},
		"one segment":         {good, v1.BadSigningInput},
		"three segments":      {good + "." + claims + ".", v1.BadSigningInput},
		"padded header":       {base64.URLEncoding.EncodeToString([]byte(goodHeader+" ")) + "." + claims, v1.BadSigningInput},
		"standard alphabet":   {good + "." + strings.ReplaceAll(segment("{\"a\":\"\u00ff\u00fe??>>\"}"), "_", "/") + "+", v1.BadSigningInput},
		"line break":          {good + ".\n" + claims, v1.BadSigningInput},
		"carriage return":     {good[:4] + "\r" + good[4:] + "." + claims, v1.BadSigningInput},
		"space":               {good + ". " + claims, v1.BadSigningInput},
		"stray bits":          {good + "." + base64.RawURLEncoding.EncodeToString([]byte("{} x"))[:5] + "B", v1.BadSigningInput},
		"header no object":    {segment(`["alg"]`) + "." + claims, v1.BadSigningInput},
		"header null":         {segment(`null`) + "." + claims, v1.BadSigningInput},
		"header cut":          {segment(`{"alg":"ES256"`) + "." + claims, v1.BadSigningInput},
		"header trailing":     {segment(goodHeader+`{}`) + "." + claims, v1.BadSigningInput},
		"alg twice":           {segment(`{"alg":"ES256","kid":"k","alg":"none"}`) + "." + claims, v1.BadSigningInput},
		"no alg":              {segment(`{"kid":"k"}`) + "." + claims, v1.BadSigningInput},
		"no kid":              {segment(`{"alg":"ES256"}`) + "." + claims, v1.BadSigningInput},
		"alg null":            {segment(`{"alg":null,"kid":"k"}`) + "." + claims, v1.BadHeader},
		"typ null":            {segment(`{"alg":"ES256","kid":"k","typ":null}`) + "." + claims, v1.BadHeader},
		"alg a number":        {segment(`{"alg":1,"kid":"k"}`) + "." + claims, v1.BadHeader},
		"crit":                {segment(`{"alg":"ES256","kid":"k","crit":["b64"],"b64":false}`) + "." + claims, v1.BadHeader},
		"b64":                 {segment(`{"alg":"ES256","kid":"k","b64":false}`) + "." + claims, v1.BadHeader},
		"jku":                 {segment(`{"alg":"ES256","kid":"k","jku":"https://evil.example"}`) + "." + claims, v1.BadHeader},
		"alg in another case": {segment(`{"alg":"ES256","kid":"k","ALG":"none"}`) + "." + claims, v1.BadHeader},
		"typ with a quote":    {segment(`{"alg":"ES256","kid":"k","typ":"a\"b"}`) + "." + claims, v1.BadHeader},
		"endless header":      {segment(`{"alg":"ES256","kid":"`+strings.Repeat("k", 5000)+`"}`) + "." + claims, v1.BadSigningInput},
		"claims too long":     {good + "." + segment(`{"a":"`+strings.Repeat("x", MaxClaims)+`"}`), v1.TooLarge},
	} {
		_, err := parseSigningInput(test.input, HeaderSettings{}, minProtected)
		e, ok := errors.AsType[*v1.Error](err)
		if !ok || e.Reason != test.reason || e.Field != "/signing_input" {
			t.Errorf("%s: got %v, want %s at /signing_input", name, err, test.reason)
		}
	}
}

// Two texts that decode to the same must not both be accepted, or what was judged would
// not be what is signed.
func FuzzSigningInput(f *testing.F) {
	f.Add(segment(goodHeader) + "." + segment(`{"exp":1}`))
	f.Add(segment(`{"alg":"ES256","kid":"k","crit":[]}`) + "." + segment(`{}`))
	f.Add(segment(`{"alg":"ES256","kid":"k","jku":"https://a.example","nonce":{"a":[1e9]}}`) + "." + segment(`{}`))
	f.Add("e30.e30")
	f.Add("..")
	settings := HeaderSettings{X5C: true, JKU: "https://a.example", Allow: []string{"nonce", "cty"}}
	f.Fuzz(func(t *testing.T, s string) {
		in, err := parseSigningInput(s, settings, minProtected)
		if err != nil {
			if reasonOf(err) == "" {
				t.Fatalf("%q: %v has no reason", s, err)
			}
			return
		}
		header, claims, _ := strings.Cut(s, ".")
		raw, err := base64.RawURLEncoding.DecodeString(header)
		if err != nil || base64.RawURLEncoding.EncodeToString(raw) != header {
			t.Fatalf("accepted the header %q, which is not the one spelling of %q", header, raw)
		}
		if base64.RawURLEncoding.EncodeToString(in.claims) != claims {
			t.Fatalf("accepted the claims %q, which are not the one spelling of %q", claims, in.claims)
		}
		// encoding/json takes names in any case and the last of duplicates, as some verifiers do.
		var theirs struct {
			Alg, KID, Typ, JKU string
			Crit, B64, JWK     any
		}
		if err := json.Unmarshal(raw, &theirs); err != nil || theirs.Alg != in.header.alg || theirs.KID != in.header.kid || theirs.Typ != in.header.typ {
			t.Fatalf("accepted %q as %+v, which others read as %+v, %v", raw, in.header, theirs, err)
		}
		if theirs.Crit != nil || theirs.B64 != nil || theirs.JWK != nil || theirs.JKU != "" && in.header.own["jku"] == nil {
			t.Fatalf("accepted %q", raw)
		}
	})
}

func TestLenientBase64(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			if got, err := lenient(enc.EncodeToString(b)); err != nil || string(got) != string(b) {
				t.Fatalf("%x as %q: %x, %v", b, enc.EncodeToString(b), got, err)
			}
		}
	})
	for _, s := range []string{"a", "aa=", "=", "a+b-", "aGk\n", "aGk =", "ab", "é"} {
		if got, err := lenient(s); err == nil {
			t.Errorf("%q was read as %x", s, got)
		}
	}
}
