package config

import (
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// Discovery is what a provider says of itself beside its keys (OpenID Connect Discovery 1.0 §3, RFC 8414
// §2); issuer, jwks_uri and id_token_signing_alg_values_supported are keysetd's to say. A member that is left
// out is not in the document, unless its comment says otherwise.
type Discovery struct {
	// AuthorizationEndpoint is required.
	AuthorizationEndpoint string `yaml:"authorization_endpoint"`
	// TokenEndpoint is required, unless every response type is implicit.
	TokenEndpoint                      string `yaml:"token_endpoint"`
	UserinfoEndpoint                   string `yaml:"userinfo_endpoint"`
	RegistrationEndpoint               string `yaml:"registration_endpoint"`
	RevocationEndpoint                 string `yaml:"revocation_endpoint"`
	IntrospectionEndpoint              string `yaml:"introspection_endpoint"`
	EndSessionEndpoint                 string `yaml:"end_session_endpoint"`
	DeviceAuthorizationEndpoint        string `yaml:"device_authorization_endpoint"`
	PushedAuthorizationRequestEndpoint string `yaml:"pushed_authorization_request_endpoint"`
	// ResponseTypesSupported left out: [code].
	ResponseTypesSupported []string `yaml:"response_types_supported"`
	// SubjectTypesSupported left out: [public].
	SubjectTypesSupported             []string `yaml:"subject_types_supported"`
	ResponseModesSupported            []string `yaml:"response_modes_supported"`
	GrantTypesSupported               []string `yaml:"grant_types_supported"`
	ScopesSupported                   []string `yaml:"scopes_supported"`
	ClaimsSupported                   []string `yaml:"claims_supported"`
	TokenEndpointAuthMethodsSupported []string `yaml:"token_endpoint_auth_methods_supported"`
	CodeChallengeMethodsSupported     []string `yaml:"code_challenge_methods_supported"`
	ServiceDocumentation              string   `yaml:"service_documentation"`
	OPPolicyURI                       string   `yaml:"op_policy_uri"`
	OPTosURI                          string   `yaml:"op_tos_uri"`
}

// Members are what is given, by their names in the document.
func (d Discovery) Members() map[string]any {
	members := map[string]any{}
	v := reflect.ValueOf(d)
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
			members[name] = v.Field(i).Interface()
		}
	}
	return members
}

func (k *Keyset) checkDiscovery(src *source, at path) error {
	if k.Discovery == nil {
		return nil
	}
	field := at.join("discovery")
	switch {
	case k.Purpose != JWT && k.Purpose != Any:
		return src.fail(field, "does not apply to purpose %s, whose keys sign no ID tokens; leave it out", k.Purpose)
	case k.Issuer == "":
		return src.fail(field, "needs the keyset's issuer, for a document speaks for one issuer; give that, or leave discovery out")
	case k.Discovery.AuthorizationEndpoint == "":
		return src.fail(field, "authorization_endpoint is missing; OpenID Connect Discovery requires it")
	case k.Discovery.TokenEndpoint == "" && k.Discovery.redeems():
		return src.fail(field, "token_endpoint is missing; OpenID Connect Discovery requires it where a code is to be redeemed (response_types_supported)")
	case !isURL(k.Issuer) || strings.Contains(k.Issuer, "?"):
		return src.fail(field, "needs an issuer that is an http or https URL without user, query and fragment, for relying parties ask below it")
	}
	members := k.Discovery.Members()
	for _, name := range slices.Sorted(maps.Keys(members)) {
		address, ok := members[name].(string)
		if ok && !isURL(address) {
			return src.fail(field.join(name), "must be an http or https URL without user and fragment")
		}
	}
	return nil
}

// redeems reports whether a response type has a code in it, as the one by default has.
func (d Discovery) redeems() bool {
	return len(d.ResponseTypesSupported) == 0 || slices.ContainsFunc(d.ResponseTypesSupported, func(s string) bool { return slices.Contains(strings.Fields(s), "code") })
}

// isURL is for an address that relying parties go to, as package jwks asks it to be.
func isURL(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil && !strings.Contains(address, "#")
}
