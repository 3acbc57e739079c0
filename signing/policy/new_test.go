package policy

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// token is a rule for tokens of uid 1 on keyset a; change makes another of it.
func token(change func(*Rule)) Rule {
	r := rule(1, []string{"a"}, []Operation{JWT}, jose.ES256)
	if change != nil {
		change(&r)
	}
	return r
}

func TestNewRefusesARule(t *testing.T) {
	sideBySide := func(limit, way string) string {
		return limit + ": does not go with operation sign on keyset a, with which it could make any token; " + way + ", or grant sign on other keysets, as a caller of its own"
	}
	for name, tc := range map[string]struct {
		change func(*Rule)
		want   string // empty: accepted
	}{
		"as it is":             {nil, ""},
		"overflow uid":         {func(r *Rule) { r.UID = new(uint32(overflow)) }, "uid 65534 is the kernel's overflow uid, which stands for every user of other user namespaces; give the service a uid of its own"},
		"no user's uid":        {func(r *Rule) { r.UID = new(uint32(math.MaxUint32)) }, "uid 4294967295 is no user's"},
		"overflow gid":         {func(r *Rule) { r.UID, r.GID = nil, new(uint32(65534)) }, "gid 65534 is the kernel's overflow gid, which stands for every group of other user namespaces; give the services a group of their own"},
		"no group's gid":       {func(r *Rule) { r.UID, r.GID = nil, new(uint32(math.MaxUint32)) }, "gid 4294967295 is no group's"},
		"a gid":                {func(r *Rule) { r.UID, r.GID = nil, new(uint32(5)) }, ""},
		"uid and gid":          {func(r *Rule) { r.GID = new(uint32(5)) }, "exactly one of uid and gid names who it is"},
		"nobody":               {func(r *Rule) { r.UID = nil }, "exactly one of uid and gid names who it is"},
		"no keysets":           {func(r *Rule) { r.Keysets = nil }, `no keysets are granted; name some, or "*"`},
		"no operations":        {func(r *Rule) { r.Operations = nil }, `no operations are granted; name some, or "*"`},
		"no algorithms":        {func(r *Rule) { r.Algorithms = nil }, `no algorithms are granted to sign with; name some, or "*"`},
		"no client ids":        {func(r *Rule) { r.Operations = []Operation{ClientAssertion} }, `no client ids are granted to make assertions for; name some, or "*"`},
		"idle client ids":      {func(r *Rule) { r.ClientIDs = []string{"c"} }, "client ids are for operation client-assertion, which is not granted; leave them out"},
		"every typ":            {func(r *Rule) { r.Types = []string{All} }, `"*" does not stand for every typ or audience; leave them out to grant every one`},
		"every audience":       {func(r *Rule) { r.Audiences = []string{All} }, `"*" does not stand for every typ or audience; leave them out to grant every one`},
		"idle types":           {func(r *Rule) { r.Operations, r.Types = []Operation{Sign}, []string{"JWT"} }, "types, audiences and claims limit operations jwt and client-assertion, and neither is granted; leave them out"},
		"idle audiences":       {func(r *Rule) { r.Operations, r.Audiences = []Operation{Read}, []string{"x"} }, "types, audiences and claims limit operations jwt and client-assertion, and neither is granted; leave them out"},
		"idle claims":          {func(r *Rule) { r.Operations, r.Claims = []Operation{Read}, "true" }, "types, audiences and claims limit operations jwt and client-assertion, and neither is granted; leave them out"},
		"types beside sign":    {func(r *Rule) { r.Operations, r.Types = []Operation{JWT, Sign}, []string{"JWT"} }, sideBySide("types", "leave types out")},
		"claims with every op": {func(r *Rule) { r.Operations, r.ClientIDs, r.Claims = []Operation{All}, []string{All}, "now > 0" }, sideBySide("claims", "leave claims out")},
		"client ids and sign":  {func(r *Rule) { r.Operations, r.ClientIDs = []Operation{ClientAssertion, Sign}, []string{"c"} }, sideBySide("client_ids", `write "*"`)},
		"priority 0":           {func(r *Rule) { r.Priority = 0 }, ""},
		"priority 10":          {func(r *Rule) { r.Priority = 10 }, "priority 10 is not from 0 to 9"},
		"priority -1":          {func(r *Rule) { r.Priority = -1 }, "priority -1 is not from 0 to 9"},
		"rate":                 {func(r *Rule) { r.Rate, r.Burst = 0.5, 3 }, ""},
		"negative rate":        {func(r *Rule) { r.Rate = -1 }, "rate must be more than 0 and at most 1000000 a second; leave it out for no limit"},
		"no rate":              {func(r *Rule) { r.Rate = math.NaN() }, "rate must be more than 0 and at most 1000000 a second; leave it out for no limit"},
		"high rate":            {func(r *Rule) { r.Rate = 1e6 + 1 }, "rate must be more than 0 and at most 1000000 a second; leave it out for no limit"},
		"negative burst":       {func(r *Rule) { r.Rate, r.Burst = 1, -1 }, "burst must be from 1 to 1000000"},
		"burst alone":          {func(r *Rule) { r.Burst = 1 }, "burst goes with a rate; give one, or leave burst out"},
		"never refilled":       {func(r *Rule) { r.Rate = 1e-9 }, "rate is so low that a spent burst is not there again within a year; give a higher rate or a lower burst"},
		"rate of reading":      {func(r *Rule) { r.Operations, r.Algorithms, r.Rate = []Operation{Read}, nil, 1 }, "rate and burst count signatures and decryptions, and no operation that signs or decrypts is granted; leave them out"},

		"a word unknown":   {func(r *Rule) { r.Claims = "claims.a == 1 &&\n  clams.b == 2" }, "claims: at line 2, character 3: undeclared reference to 'clams'"},
		"no expression":    {func(r *Rule) { r.Claims = "claims.a ==" }, "claims: at character 12: Syntax error: mismatched input '<EOF>' expecting"},
		"no truth":         {func(r *Rule) { r.Claims = "claims.a" }, "claims: the expression is of type dyn and must be of type bool; compare it with something, as in claims.admin == true"},
		"a number":         {func(r *Rule) { r.Claims = "now" }, "claims: the expression is of type int and must be of type bool; compare it with something, as in claims.admin == true"},
		"types that clash": {func(r *Rule) { r.Claims = "now == 'x'" }, "claims: at character 5: found no matching overload for '_==_' applied to '(int, string)'"},
		"a broken pattern": {func(r *Rule) { r.Claims = "claims.sub.matches('(')" }, "claims: at character 20: invalid matches argument"},
		"a long pattern":   {func(r *Rule) { r.Claims = "claims.sub.matches('a{999}b{999}c{999}')" }, "claims: at character 20: "},
		"a pattern found":  {func(r *Rule) { r.Claims = "claims.sub.matches(claims.p)" }, "claims: at character 26: the pattern of matches must be written out as one string"},
		"a pattern made":   {func(r *Rule) { r.Claims = "matches(claims.sub, '^' + string(now))" }, "claims: at character 25: the pattern of matches must be written out as one string"},
		"nobody's field":   {func(r *Rule) { r.Claims = "caller.user == 'x'" }, "claims: at character 7: caller has no user; it has uid, gid, pid, groups"},
		"nobody's, asked":  {func(r *Rule) { r.Claims = "has(caller.name) || now > 0" }, "claims: at character 4: caller has no name; it has uid, gid, pid, groups"},
		"all their fields": {func(r *Rule) {
			r.Claims = "caller.uid == 1 && caller.gid == 1 && caller.pid == 1 && caller.groups == []"
		}, ""},
		"the same always": {func(r *Rule) { r.Claims = "'claims.aud' == 'api'" }, "claims: at character 14: the expression is the same for every token; look at claims, header, caller or now, or leave it out"},
		"too long":        {func(r *Rule) { r.Claims = strings.Repeat("true && ", 600) + "true" }, "claims: at character 1: expression code point size exceeds limit"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New([]Rule{token(tc.change)}, options)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.HasPrefix(err.Error(), "caller svc: "+tc.want)) || err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
	if _, err := New(nil, Options{}); err == nil {
		t.Error("an overflow uid of 0 was accepted")
	}
	if _, err := New([]Rule{token(func(r *Rule) { r.UID, r.GID = nil, new(uint32(7)) })}, Options{OverflowUID: overflow, OverflowGID: 7}); err == nil {
		t.Error("the overflow gid was accepted")
	}
}

// Limits for tokens beside sign are refused where two rules may be for the same caller.
func TestNewRefusesAPair(t *testing.T) {
	uid := func(id uint32) func(*Rule) { return func(r *Rule) { r.UID = &id } }
	gid := func(id uint32) func(*Rule) { return func(r *Rule) { r.UID, r.GID = nil, &id } }
	types := func(r *Rule) { r.Types = []string{"JWT"} }
	audiences := func(r *Rule) { r.Audiences = []string{"x"} }
	claims := func(r *Rule) { r.Claims = "now > 0" }
	clientIDs := func(r *Rule) { r.Operations, r.ClientIDs = []Operation{ClientAssertion}, []string{"x"} }
	nothing := func(*Rule) {}
	for name, tc := range map[string]struct {
		who1, limit, who2 func(*Rule)
		keysets1          string
		keysets2          string
		refused           bool
	}{
		"types":          {uid(1), types, uid(1), "a", "a", true},
		"audiences":      {uid(1), audiences, uid(1), "a", "a", true},
		"claims":         {uid(1), claims, uid(1), "a", "a", true},
		"client ids":     {uid(1), clientIDs, uid(1), "a", "a", true},
		"no limit":       {uid(1), nothing, uid(1), "a", "a", false},
		"one group":      {gid(1), types, gid(1), "a", "a", true},
		"other uid":      {uid(1), types, uid(2), "a", "a", false},
		"other gid":      {gid(1), types, gid(2), "a", "a", true},
		"uid and gid":    {uid(1), types, gid(1), "a", "a", true},
		"gid and uid":    {gid(1), types, uid(1), "a", "a", true},
		"gid, elsewhere": {uid(1), types, gid(1), "a", "b", false},
		"other keyset":   {uid(1), types, uid(1), "a", "b", false},
		"all limited":    {uid(1), types, uid(1), "*", "b", true},
		"all for sign":   {uid(1), types, uid(1), "a", "*", true},
		"one in several": {uid(1), types, uid(1), "b a", "c a", true},
	} {
		t.Run(name, func(t *testing.T) {
			limited := token(func(r *Rule) { tc.limit(r); tc.who1(r); r.Name, r.Keysets = "one", strings.Fields(tc.keysets1) })
			signs := token(func(r *Rule) {
				tc.who2(r)
				r.Name, r.Keysets, r.Operations = "two", strings.Fields(tc.keysets2), []Operation{Sign}
			})
			for _, rules := range [][]Rule{{limited, signs}, {signs, limited}} {
				_, err := New(rules, options)
				refused, _ := errors.AsType[*RuleError](err)
				if (err != nil) != tc.refused || err != nil && (refused == nil || refused.Rule != "one" || refused.Field == "" || !strings.Contains(err.Error(), ", which caller two grants "+signs.who().String())) {
					t.Errorf("got %v, want refused: %v", err, tc.refused)
				}
			}
		})
	}
}

// Keysets with which nobody can sign bytes, by their purpose, do not count, and the keyset that
// does is named.
func TestNewRefusesWhereSignIsPossible(t *testing.T) {
	both := func(keysets ...string) []Rule {
		return []Rule{token(func(r *Rule) {
			r.Keysets, r.Operations, r.ClientIDs, r.Types = keysets, []Operation{All}, []string{All}, []string{"JWT"}
		})}
	}
	pair := func(one, two []string) []Rule {
		return []Rule{
			token(func(r *Rule) { r.Keysets, r.Types = one, []string{"JWT"} }),
			token(func(r *Rule) { r.Name, r.Keysets, r.Operations = "two", two, []Operation{Sign} }),
		}
	}
	for name, tc := range map[string]struct {
		rules   []Rule
		signing []string
		want    string // the keyset that the error names
	}{
		"one rule, a tokens' keyset":  {both("a"), []string{"raw"}, ""},
		"one rule, none signs":        {both(All), []string{}, ""},
		"one rule, it is not known":   {both("a"), nil, "a"},
		"one rule, all of them":       {both(All), []string{"raw"}, "raw"},
		"one rule, some of them":      {both("a", "raw"), []string{"raw"}, "raw"},
		"two rules, a tokens' keyset": {pair([]string{"a"}, []string{All}), []string{"raw"}, ""},
		"two rules, all of them":      {pair([]string{All}, []string{All}), []string{"raw"}, "raw"},
		"two rules, one of them":      {pair([]string{All}, []string{"a", "raw"}), []string{"raw"}, "raw"},
		"two rules, another one":      {pair([]string{"a"}, []string{"raw"}), []string{"raw"}, ""},
	} {
		o := options
		o.Signing = tc.signing
		_, err := New(tc.rules, o)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), "types: does not go with operation sign on keyset "+tc.want)) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}
