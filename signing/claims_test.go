package signing

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
	"pgregory.net/rapid"

	v1 "keysetd.example/api/v1"
)

var (
	testNow   = time.Unix(1_800_000_000, 500_000_000)
	testRules = claimRules{issuer: "https://issuer.example", maxLifetime: time.Hour}
)

const goodExp = 1_800_000_060

func reasonOf(err error) v1.Reason {
	if e, ok := errors.AsType[*v1.Error](err); ok {
		return e.Reason
	}
	return ""
}

func TestClaimsAccepted(t *testing.T) {
	for name, claims := range map[string]string{
		"exp alone":         `{"exp":1800000060}`,
		"one second left":   `{"exp":1800000001}`,
		"all of the hour":   `{"exp":1800003600}`,
		"everything":        `{"iss":"https://issuer.example","sub":"s","aud":["a","b"],"exp":1800000060,"nbf":1,"iat":0,"jti":"j","x":{"y":[1e15,null,1.5,"1e400"]}}`,
		"white space":       " {\n\t\"exp\" : 1800000060 }\r\n",
		"escaped name":      `{"\u0065xp":1800000060}`,
		"escaped issuer":    `{"exp":1800000060,"iss":"https:\/\/issuer.example"}`,
		"aud a string":      `{"exp":1800000060,"aud":"a"}`,
		"aud empty":         `{"exp":1800000060,"aud":[]}`,
		"greatest numbers":  `{"exp":1800000060,"a":[9007199254740991,-9007199254740991,9007199254740991.0,9.007199254740991e15,9007199254740991.4,1e-400,0.1]}`,
		"greatest iat":      `{"exp":1800000060,"iat":9007199254740991}`,
		"camel case":        `{"exp":1800000060,"firstName":"a","Tenant":"b","É":1}`,
		"names like others": `{"exp":1800000060,"e":1,"ex":2,"expp":3,"I":4,"ı":5,"k":6,"ß":7,"ss":8}`,
		"same names deeper": `{"exp":1800000060,"a":{"exp":"x"},"b":{"EXP":1}}`,
		"deepest":           `{"exp":1800000060,"a":` + strings.Repeat("[", maxNesting-1) + strings.Repeat("]", maxNesting-1) + `}`,
		"brackets in text":  `{"exp":1800000060,"a":"` + strings.Repeat(`[\"`, 100) + `"}`,
		"longest":           `{"exp":1800000060,"a":"` + strings.Repeat("x", MaxClaims-len(`{"exp":1800000060,"a":""}`)) + `"}`,
	} {
		facts, err := judgeClaims([]byte(claims), testRules, testNow)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if name == "everything" && (facts.exp != goodExp || facts.jti != "j") {
			t.Errorf("%s: facts %+v", name, facts)
		}
	}
}

func TestClaimsRefused(t *testing.T) {
	type bad struct {
		claims string
		reason v1.Reason
		field  string
	}
	tests := map[string]bad{
		"array":              {`[]`, v1.BadClaims, "/claims"},
		"string":             {`"{}"`, v1.BadClaims, "/claims"},
		"null":               {`null`, v1.BadClaims, "/claims"},
		"nothing":            {``, v1.BadClaims, "/claims"},
		"no exp":             {`{}`, v1.BadClaims, "/claims/exp"},
		"exp fraction":       {`{"exp":1800000060.5}`, v1.BadClaims, "/claims/exp"},
		"exp zero fraction":  {`{"exp":1800000060.0}`, v1.BadClaims, "/claims/exp"},
		"1e400 somewhere":    {`{"exp":1800000060,"x":[{"y":-1e400}]}`, v1.BadClaims, "/claims"},
		"nbf after exp":      {`{"nbf":1800000061,"exp":1800000060}`, v1.BadClaims, "/claims/nbf"},
		"nbf is exp":         {`{"exp":1800000060,"nbf":1800000060}`, v1.BadClaims, "/claims/nbf"},
		"iat negative":       {`{"exp":1800000060,"iat":-1}`, v1.BadClaims, "/claims/iat"},
		"exp 1e400":          {`{"exp":1e400}`, v1.BadClaims, "/claims/exp"},
		"exp exponent":       {`{"exp":1800000060e0}`, v1.BadClaims, "/claims/exp"},
		"exp string":         {`{"exp":"1800000060"}`, v1.BadClaims, "/claims/exp"},
		"exp null":           {`{"exp":null}`, v1.BadClaims, "/claims/exp"},
		"exp over int64":     {`{"exp":9223372036854775808}`, v1.BadClaims, "/claims/exp"},
		"exp now":            {`{"exp":1800000000}`, v1.BadClaims, "/claims/exp"},
		"exp negative":       {`{"exp":-1800000060}`, v1.BadClaims, "/claims/exp"},
		"exp too far":        {`{"exp":1800003601}`, v1.LifetimeTooLong, "/claims/exp"},
		"exp farthest":       {`{"exp":9007199254740991}`, v1.LifetimeTooLong, "/claims/exp"},
		"exp no double":      {`{"exp":9007199254740992}`, v1.BadClaims, "/claims/exp"},
		"exp int64":          {`{"exp":9223372036854775807}`, v1.BadClaims, "/claims/exp"},
		"nbf no double":      {`{"exp":1800000060,"nbf":9007199254740993}`, v1.BadClaims, "/claims/nbf"},
		"iat no double":      {`{"exp":1800000060,"iat":9007199254740993}`, v1.BadClaims, "/claims/iat"},
		"2^53":               {`{"exp":1800000060,"uid":9007199254740992}`, v1.BadClaims, "/claims"},
		"2^53+1, below 0":    {`{"exp":1800000060,"uid":-9007199254740993}`, v1.BadClaims, "/claims"},
		"2^53+1 deeper":      {`{"exp":1800000060,"a":[{"b":9007199254740993}]}`, v1.BadClaims, "/claims"},
		"2^53+1 as a float":  {`{"exp":1800000060,"a":9007199254740993.0}`, v1.BadClaims, "/claims"},
		"2^53+1 by exponent": {`{"exp":1800000060,"a":0.9007199254740993e+16}`, v1.BadClaims, "/claims"},
		"1e300":              {`{"exp":1800000060,"a":1E300}`, v1.BadClaims, "/claims"},
		"nbf fraction":       {`{"exp":1800000060,"nbf":1.5}`, v1.BadClaims, "/claims/nbf"},
		"iat bool":           {`{"exp":1800000060,"iat":true}`, v1.BadClaims, "/claims/iat"},
		"iss other":          {`{"exp":1800000060,"iss":"https://evil.example"}`, v1.IssuerMismatch, "/claims/iss"},
		"iss number":         {`{"exp":1800000060,"iss":1}`, v1.BadClaims, "/claims/iss"},
		"sub number":         {`{"exp":1800000060,"sub":1}`, v1.BadClaims, "/claims/sub"},
		"jti null":           {`{"exp":1800000060,"jti":null}`, v1.BadClaims, "/claims/jti"},
		"aud number":         {`{"exp":1800000060,"aud":1}`, v1.BadClaims, "/claims/aud"},
		"aud of numbers":     {`{"exp":1800000060,"aud":["a",1]}`, v1.BadClaims, "/claims/aud"},
		"aud nested":         {`{"exp":1800000060,"aud":[["a"]]}`, v1.BadClaims, "/claims/aud"},
		"aud object":         {`{"exp":1800000060,"aud":{"a":"b"}}`, v1.BadClaims, "/claims/aud"},
		"twice":              {`{"exp":1800000060,"a":1,"a":1}`, v1.BadClaims, "/claims/a"},
		"twice, escaped":     {`{"exp":1800000060,"ex\u0070":1800000060}`, v1.BadClaims, "/claims/exp"},
		"twice, deeper":      {`{"exp":1800000060,"a":[{"b":{"c":1,"c":2}}]}`, v1.BadClaims, "/claims/a/0/b/c"},
		"other case":         {`{"exp":1800000060,"EXP":9999999999}`, v1.BadClaims, "/claims"},
		"other case, folded": {`{"exp":1800000060,"iſs":"https://evil.example"}`, v1.BadClaims, "/claims"},
		"other case, before": {`{"Iss":"https://issuer.example","exp":1800000060}`, v1.BadClaims, "/claims"},
		"other case, beside": {`{"exp":1800000060,"sub":"a","SUB":"b"}`, v1.BadClaims, "/claims"},
		"scope":              {`{"exp":1800000060,"Scope":"admin"}`, v1.BadClaims, "/claims"},
		"client_id":          {`{"exp":1800000060,"Client_ID":"a"}`, v1.BadClaims, "/claims"},
		"cnf":                {`{"exp":1800000060,"cnF":{}}`, v1.BadClaims, "/claims"},
		"long s":             {`{"exp":1800000060,"at_ha\u017fh":"a"}`, v1.BadClaims, "/claims"},
		"two spellings":      {`{"exp":1800000060,"tenant":"a","b":1,"Tenant":"b"}`, v1.BadClaims, "/claims"},
		"two of Kelvin":      {`{"exp":1800000060,"k":"a","\u212A":"b"}`, v1.BadClaims, "/claims"},
		"two, not of ASCII":  {`{"exp":1800000060,"Ä":"a","ä":"b"}`, v1.BadClaims, "/claims"},
		"NUL in a name":      {`{"exp":1800000060,"sub\u0000":"a"}`, v1.BadClaims, "/claims"},
		"escape in a name":   {`{"exp":1800000060,"\u001b[2J":"a"}`, v1.BadClaims, "/claims"},
		"C1 in a name":       {`{"exp":1800000060,"a\u0085":"a"}`, v1.BadClaims, "/claims"},
		"DEL in a name":      {"{\"exp\":1800000060,\"a\x7f\":1}", v1.BadClaims, "/claims"},
		"not UTF-8":          {"{\"exp\":1800000060,\"a\":\"\xff\"}", v1.BadClaims, "/claims/a"},
		"lone surrogate":     {`{"exp":1800000060,"a":"\ud800"}`, v1.BadClaims, "/claims/a"},
		"name not UTF-8":     {"{\"exp\":1800000060,\"\xff\":1}", v1.BadClaims, "/claims"},
		"cut short":          {`{"exp":1800000060`, v1.BadClaims, "/claims"},
		"cut in a string":    {`{"exp":1800000060,"a":"`, v1.BadClaims, "/claims/a"},
		"trailing":           {`{"exp":1800000060}{}`, v1.BadClaims, "/claims"},
		"trailing word":      {`{"exp":1800000060} x`, v1.BadClaims, "/claims"},
		"trailing comma":     {`{"exp":1800000060,}`, v1.BadClaims, "/claims"},
		"comment":            {`{"exp":1800000060}//`, v1.BadClaims, "/claims"},
		"too deep":           {`{"exp":1800000060,"a":` + strings.Repeat("[", maxNesting) + strings.Repeat("]", maxNesting) + `}`, v1.BadClaims, "/claims"},
		"bottomless":         {`{"a":` + strings.Repeat("[", 60_000), v1.BadClaims, "/claims"},
		"too long":           {`{"exp":1800000060,"a":"` + strings.Repeat("x", MaxClaims) + `"}`, v1.TooLarge, "/claims"},
	}
	for name, test := range tests {
		_, err := judgeClaims([]byte(test.claims), testRules, testNow)
		e, ok := errors.AsType[*v1.Error](err)
		if !ok || e.Reason != test.reason || e.Field != test.field {
			t.Errorf("%s: got %+v; want %s at %s", name, e, test.reason, test.field)
			continue
		}
		if len(e.Detail) > 600 || !utf8.ValidString(e.Detail) {
			t.Errorf("%s: detail of %d bytes: %q", name, len(e.Detail), e.Detail)
		}
	}
}

func TestAnyIssuer(t *testing.T) {
	rules := testRules
	rules.anyIssuer = true
	if _, err := judgeClaims([]byte(`{"exp":1800000060,"iss":"https://other.example"}`), rules, testNow); err != nil {
		t.Error(err)
	}
	if _, err := judgeClaims([]byte(`{"exp":1800000060,"iss":7}`), rules, testNow); reasonOf(err) != v1.BadClaims {
		t.Errorf("an issuer of the wrong type: %v", err)
	}
}

// What is accepted must say the same to verifiers as it said here, whichever way they read
// it: encoding/json takes names in any case and the last of duplicates.
func checkAccepted(t interface{ Fatalf(string, ...any) }, raw []byte, facts claimFacts) {
	var theirs jwt.RegisteredClaims
	if err := json.Unmarshal(raw, &theirs); err != nil {
		t.Fatalf("accepted %q, which golang-jwt cannot read: %v", raw, err)
	}
	if theirs.ExpiresAt == nil || theirs.ExpiresAt.Unix() != facts.exp || theirs.ID != facts.jti {
		t.Fatalf("accepted %q as %+v, which golang-jwt reads as %+v", raw, facts, theirs)
	}
	if theirs.Issuer != "" && theirs.Issuer != testRules.issuer {
		t.Fatalf("accepted %q, in which golang-jwt reads issuer %q", raw, theirs.Issuer)
	}
	if facts.exp <= testNow.Unix() || facts.exp > testNow.Add(testRules.maxLifetime).Unix() {
		t.Fatalf("accepted %q with exp %d", raw, facts.exp)
	}
}

func FuzzClaims(f *testing.F) {
	for _, s := range []string{
		`{"exp":1800000060}`, `{"exp":1800000060,"aud":["a"],"jti":"x"}`, `{"exp":1800000060,"EXP":1}`, `{"exp":1e400}`,
		`{"exp":1800000060,"iſs":"x"}`, `{"exp":1800000060,"a":{"a":1,"a":2}}`, `[{}]`, "{\"exp\":1800000060,\"\xff\":1}", `{"exp":-0}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		facts, err := judgeClaims(raw, testRules, testNow)
		if err == nil {
			checkAccepted(t, raw, facts)
		} else if reasonOf(err) == "" {
			t.Fatalf("%q: %v has no reason", raw, err)
		}
	})
}

func TestClaimsAgreeWithVerifiers(t *testing.T) {
	name := rapid.SampledFrom([]string{"exp", "Exp", "iss", "ISS", "aud", "jti", "nbf", "x", "", "ſub", "e\\u0078p"})
	value := rapid.SampledFrom([]string{
		`1800000060`, `1800003600`, `1800003601`, `1.5`, `1e3`, `-1`, `"https://issuer.example"`, `"other"`,
		`["a"]`, `[1]`, `{"exp":1}`, `null`, `true`, `""`,
	})
	rapid.Check(t, func(t *rapid.T) {
		members := []string{`"exp":1800000060`}
		for range rapid.IntRange(0, 4).Draw(t, "members") {
			members = append(members, fmt.Sprintf(`"%s":%s`, name.Draw(t, "name"), value.Draw(t, "value")))
		}
		raw := []byte("{" + strings.Join(members[rapid.IntRange(0, 1).Draw(t, "from"):], ",") + "}")
		if facts, err := judgeClaims(raw, testRules, testNow); err == nil {
			checkAccepted(t, raw, facts)
		}
	})
}
