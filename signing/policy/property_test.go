package policy

import (
	"math"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"pgregory.net/rapid"
)

// Judge grants nothing that Decide refuses, without limits all that Decide grants, and with a
// limit taken away from a rule nothing less.
func TestJudgeWithinDecide(t *testing.T) {
	ids := []uint32{0, 1, 2, daemon, overflow, math.MaxUint32}
	some := func(t *rapid.T, what string, of ...string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(of), 1, 2, rapid.ID).Draw(t, what)
	}
	rapid.Check(t, func(t *rapid.T) {
		var rules, free []Rule
		for range rapid.IntRange(0, 5).Draw(t, "rules") {
			r := Rule{Name: "svc", Keysets: some(t, "keysets", "a", "b", All), Priority: rapid.IntRange(0, 9).Draw(t, "priority")}
			if id := new(rapid.SampledFrom(ids[:4]).Draw(t, "id")); rapid.Bool().Draw(t, "group") {
				r.GID = id
			} else {
				r.UID = id
			}
			for _, o := range some(t, "operations", "jwt", "sign", "client-assertion", "read", "admin", All) {
				r.Operations = append(r.Operations, Operation(o))
			}
			for _, a := range some(t, "algorithms", "ES256", "RS256", All) {
				r.Algorithms = append(r.Algorithms, jose.SignatureAlgorithm(a))
			}
			r.ClientIDs = clientIDs(r.Operations)
			free = append(free, r)
			if r.issues() && !r.grants(Sign) && rapid.Bool().Draw(t, "limited") {
				r.Types = rapid.SampledFrom([][]string{nil, {"JWT"}, {"at+jwt"}}).Draw(t, "types")
				r.Audiences = rapid.SampledFrom([][]string{nil, {"api"}, {"web"}}).Draw(t, "audiences")
				r.Claims = rapid.SampledFrom([]string{"", "claims.aud == 'api'", "claims.missing", "now > 0"}).Draw(t, "claims")
				if r.Claims == "claims.missing" {
					r.Claims += " == 1"
				}
				if r.grants(ClientAssertion) {
					r.ClientIDs = rapid.SampledFrom([][]string{{All}, {"c"}, {"d"}}).Draw(t, "client ids")
				}
			}
			rules = append(rules, r)
		}
		p, err := New(rules, options)
		if err != nil {
			t.Skip(err) // sign beside limits
		}
		q, err := New(free, options)
		if err != nil {
			t.Fatal(err)
		}
		for range 30 {
			c := Caller{
				UID: rapid.SampledFrom(ids).Draw(t, "uid"), GID: rapid.SampledFrom(ids).Draw(t, "gid"),
				Groups: rapid.SliceOfN(rapid.SampledFrom(ids), 0, 3).Draw(t, "groups"),
			}
			r := asked(rapid.SampledFrom([]string{`{}`, `{"aud":"api"}`, `{"aud":["web"]}`, `{`}).Draw(t, "claims"))
			r.Operation = rapid.SampledFrom(Operations()).Draw(t, "operation")
			r.Keyset = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "keyset")
			r.Alg = rapid.SampledFrom([]jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA}).Draw(t, "alg")
			r.Typ = rapid.SampledFrom([]string{"JWT", "at+jwt", ""}).Draw(t, "typ")
			r.ClientID = rapid.SampledFrom([]string{"c", "d", "e"}).Draw(t, "client")
			got, d := p.Judge(c, r), p.Decide(c, r.Operation, r.Keyset, r.Alg)
			if got.Granted && !d.Granted || (got.Reason == "") != got.Granted || (d.Reason == "") != d.Granted {
				t.Fatalf("%+v %+v: %+v, and Decide %+v", c, r, got, d)
			}
			if !d.Granted && got.Reason != d.Reason && r.Operation != Sign {
				t.Fatalf("two reasons: %q and %q", got.Reason, d.Reason)
			}
			if v := q.Judge(c, r); v.Granted != d.Granted || got.Granted && !v.Granted {
				t.Fatalf("without limits %+v, with %+v, and Decide %+v", v, got, d)
			}
			if c.UID == overflow && (got.Granted || len(p.Grants(c)) > 0) {
				t.Fatalf("the overflow uid has %+v", got)
			}
			if got.Granted && got.Rule != "" && !slices.ContainsFunc(p.Grants(c), func(g Rule) bool { return g.Priority == got.Priority }) {
				t.Fatalf("%+v is by none of its rules", got)
			}
		}
	})
}
