package daemon

import (
	"keysetd.example/internal/config"
	"keysetd.example/signing"
)

// headerOf says what stands in the headers of a keyset's tokens. publicURL is what the world calls
// the public door.
func headerOf(name string, ks config.Keyset, publicURL string) signing.HeaderSettings {
	h := signing.HeaderSettings{
		NoKID: !ks.Header.KID, X5C: ks.Header.X5C, X5TS256: ks.Header.X5TS256,
		Allow: ks.Header.Allow, Types: ks.Types,
	}
	if ks.Header.JKU {
		h.JKU = publicURL + "/keysets/" + name + "/jwks.json"
	}
	return h
}

// assertionOf says how a keyset's client assertions look.
func assertionOf(ks config.Keyset) signing.AssertionSettings {
	return signing.AssertionSettings{
		Typ: string(ks.ClientAssertion.Typ), MaxLifetime: ks.ClientAssertion.MaxLifetime,
		AudienceArray: ks.ClientAssertion.Audience == config.AudienceArray,
	}
}
