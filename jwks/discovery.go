package jwks

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/jwa"
)

// Discovery is what a keyset's discovery document is made of.
//
// Relying parties ask for it at issuer + "/.well-known/openid-configuration" and refuse one that
// names another issuer (OpenID Connect Discovery 1.0 §4.1, §4.3). So where Issuer is neither
// PublicURL + "/keysets/" + Keyset nor, for the keyset Default, PublicURL itself, the issuer's own
// web server has to pass that path on to this keyset's.
type Discovery struct {
	// Keyset is the name of it.
	Keyset string
	// Issuer is the iss of the keyset's tokens: an http or https URL without user, query and
	// fragment. Discovery wants https, and http is for tests.
	Issuer string
	// PublicURL is what the world calls the public door, without a slash at the end. The JWKS
	// is below it.
	PublicURL string
	// Members are the provider's own (Discovery §3, RFC 8414 §2), of which authorization_endpoint is
	// required, and token_endpoint unless no response_types_supported has a code.
	// response_types_supported is [code] and subject_types_supported is [public] where they are
	// left out. Values are what encoding/json writes; none is empty (Discovery §4.2).
	Members map[string]any
}

// The members that say what keysetd knows better than a configuration.
const (
	memberIssuer     = "issuer"
	memberJWKS       = "jwks_uri"
	memberAlgorithms = "id_token_signing_alg_values_supported"
)

// The members that the provider has to give, or for which there is a default.
const (
	memberAuthorization = "authorization_endpoint"
	memberToken         = "token_endpoint"
	memberResponses     = "response_types_supported"
	memberSubjects      = "subject_types_supported"
)

// ownMembers cannot be given. A signed_metadata (RFC 8414 §2.1) would go before all the others and
// would not change with the keys.
var ownMembers = []string{memberIssuer, memberJWKS, memberAlgorithms, "signed_metadata"}

// NewDiscovery makes the document for a keyset whose published keys are keys: its algorithms are
// those that some of them sign with, or may. Discovery §3 wants RS256 always among them; here it is
// where there is an RSA key, since a relying party that chose it otherwise would get no token. With
// no key that signs there is no document, for it would have no algorithm: nil.
func NewDiscovery(d Discovery, keys []Key, opts Options) (*Page, error) {
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("making the discovery document: %w", err)
	}
	members, err := d.members()
	if err != nil {
		return nil, fmt.Errorf("making the discovery document: %w", err)
	}
	algs, err := signedWith(keys)
	if err != nil || len(algs) == 0 {
		return nil, err
	}
	members[memberAlgorithms] = algs
	body, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("encoding the discovery document: %w", err)
	}
	return newPage("application/json", body, newFreshness(opts.MaxAge, opts.FreshUntil)), nil
}

// signedWith are the algorithms of those keys that sign, each once.
func signedWith(keys []Key) (algs []jose.SignatureAlgorithm, err error) {
	for _, key := range keys {
		if key.Use != Signature {
			continue
		}
		spec, err := specOf(key.Public)
		if err != nil {
			return nil, fmt.Errorf("listing the algorithms of key %q: %w", key.KID, err)
		}
		for _, alg := range jwa.ForSpec(spec) {
			if !slices.Contains(algs, alg) {
				algs = append(algs, alg)
			}
		}
	}
	return algs, nil
}

// members are all but the algorithms.
func (d Discovery) members() (map[string]any, error) {
	members := map[string]any{memberResponses: []string{"code"}, memberSubjects: []string{"public"}}
	for _, name := range slices.Sorted(maps.Keys(d.Members)) { // so that the error is the same each time
		value := d.Members[name]
		// In any case: some parsers, Go's among them, take one for the other.
		if slices.ContainsFunc(ownMembers, func(own string) bool { return strings.EqualFold(own, name) }) {
			return nil, fmt.Errorf("%s is not for the discovery block; keysetd gives what is to be said of its keys", name)
		}
		if err := checkMember(name, value); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		members[name] = value
	}
	responses, _ := texts(members[memberResponses])
	code := slices.ContainsFunc(responses, func(s string) bool { return slices.Contains(strings.Fields(s), "code") })
	switch {
	case members[memberAuthorization] == nil:
		return nil, fmt.Errorf("%s is missing; it is where users are sent to log in", memberAuthorization)
	case members[memberToken] == nil && code:
		return nil, fmt.Errorf("%s is missing, where %s %q has a code that is to be redeemed", memberToken, memberResponses, responses)
	}
	for name, address := range map[string]string{"issuer": d.Issuer, "public_url": d.PublicURL} {
		if err := checkURL(address); err != nil || strings.Contains(address, "?") {
			return nil, fmt.Errorf("%s %q has to be an http or https URL without user, query and fragment", name, address)
		}
	}
	members[memberIssuer] = d.Issuer
	members[memberJWKS] = d.PublicURL + keysetPath(url.PathEscape(d.Keyset)) + jwksPath
	return members, nil
}

// checkMember holds a member that the provider gives to what its name says.
func checkMember(name string, value any) error {
	v := reflect.ValueOf(value)
	if !v.IsValid() || (v.Kind() == reflect.String || v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0 {
		return errors.New("has no value; leave it out")
	}
	switch {
	case name == memberResponses, name == memberSubjects:
		if _, ok := texts(value); !ok {
			return errors.New("has to be a list of texts")
		}
	case strings.HasSuffix(name, "_endpoint"), strings.HasSuffix(name, "_uri"):
		address, ok := value.(string)
		if !ok {
			return errors.New("has to be a URL")
		}
		return checkURL(address)
	}
	return nil
}

// texts is value as a list of texts.
func texts(value any) (list []string, ok bool) {
	if list, ok = value.([]string); ok {
		return list, true
	}
	items, ok := value.([]any)
	for _, item := range items {
		s, isText := item.(string)
		list, ok = append(list, s), ok && isText
	}
	return list, ok
}

// checkURL is for an address that relying parties go to.
func checkURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || strings.Contains(address, "#") {
		return fmt.Errorf("%q has to be an http or https URL without user and fragment", address)
	}
	return nil
}
