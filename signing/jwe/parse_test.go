package jwe

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

const goodEPK = `"epk":{"kty":"EC","crv":"P-256","x":"","y":""}`

func TestHeader(t *testing.T) {
	for name, c := range map[string]struct{ header, want string }{
		"empty":                  {``, "not a JSON object"},
		"null":                   {`null`, "not a JSON object"},
		"a list":                 {`[]`, "not a JSON object"},
		"a string":               {`"alg"`, "not a JSON object"},
		"cut":                    {`{"alg":"RSA-OAEP","enc":"A128GCM"`, "not a JSON object"},
		"something after it":     {`{"alg":"RSA-OAEP","enc":"A128GCM"}{}`, "not a JSON object"},
		"a byte order mark":      {"\ufeff" + `{"alg":"RSA-OAEP","enc":"A128GCM"}`, "not a JSON object"},
		"alg twice":              {`{"alg":"RSA-OAEP","enc":"A128GCM","alg":"RSA-OAEP"}`, "each member once"},
		"alg twice, escaped":     {`{"alg":"RSA-OAEP","enc":"A128GCM","\u0061lg":"RSA-OAEP"}`, "each member once"},
		"a member of epk twice":  {`{"alg":"ECDH-ES","enc":"A128GCM","epk":{"kty":"EC","kty":"EC"}}`, "each member once"},
		"invalid UTF-8":          {`{"alg":"RSA-OAEP","enc":"A128GCM","a":"` + "\xff" + `"}`, "UTF-8"},
		"half a surrogate pair":  {`{"alg":"RSA-OAEP","enc":"A128GCM","a":"\ud800"}`, "UTF-8"},
		"nested for ever":        {`{"alg":"RSA-OAEP","enc":"A128GCM","a":` + strings.Repeat("[", 12000), "not a JSON object"},
		"too long":               {`{"alg":"RSA-OAEP","enc":"A128GCM","a":"` + strings.Repeat("a", MaxHeader) + `"}`, "more than 16384"},
		"no alg":                 {`{"enc":"A128GCM"}`, "alg is none of"},
		"ALG":                    {`{"ALG":"RSA-OAEP","enc":"A128GCM"}`, "alg is none of"},
		"alg in other case":      {`{"alg":"rsa-oaep","enc":"A128GCM"}`, "alg is none of"},
		"alg a number":           {`{"alg":1,"enc":"A128GCM"}`, "alg is not a string"},
		"alg null":               {`{"alg":null,"enc":"A128GCM"}`, "alg is not a string"},
		"alg a list":             {`{"alg":["RSA-OAEP"],"enc":"A128GCM"}`, "alg is not a string"},
		"RSA1_5":                 {`{"alg":"RSA1_5","enc":"A128GCM"}`, "alg is none of"},
		"RSA-OAEP-384":           {`{"alg":"RSA-OAEP-384","enc":"A128GCM"}`, "alg is none of"},
		"dir":                    {`{"alg":"dir","enc":"A128GCM"}`, "alg is none of"},
		"A128KW":                 {`{"alg":"A128KW","enc":"A128GCM"}`, "alg is none of"},
		"A256GCMKW":              {`{"alg":"A256GCMKW","enc":"A128GCM"}`, "alg is none of"},
		"ECDH-ES+A192KW":         {`{"alg":"ECDH-ES+A192KW","enc":"A128GCM"}`, "alg is none of"},
		"PBES2":                  {`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2s":"AAAA","p2c":2000000000}`, "p2c"},
		"no enc":                 {`{"alg":"RSA-OAEP"}`, "enc is none of"},
		"enc a number":           {`{"alg":"RSA-OAEP","enc":1}`, "enc is not a string"},
		"A192GCM":                {`{"alg":"RSA-OAEP","enc":"A192GCM"}`, "enc is none of"},
		"an unknown enc":         {`{"alg":"RSA-OAEP","enc":"C20P"}`, "enc is none of"},
		"kid a number":           {`{"alg":"RSA-OAEP","enc":"A128GCM","kid":1}`, "kid is not a string"},
		"crit":                   {`{"alg":"RSA-OAEP","enc":"A128GCM","crit":["exp"],"exp":1}`, "crit"},
		"an empty crit":          {`{"alg":"RSA-OAEP","enc":"A128GCM","crit":[]}`, "crit"},
		"crit null":              {`{"alg":"RSA-OAEP","enc":"A128GCM","crit":null}`, "crit"},
		"zip":                    {`{"alg":"RSA-OAEP","enc":"A128GCM","zip":"DEF"}`, "zip"},
		"zip null":               {`{"alg":"RSA-OAEP","enc":"A128GCM","zip":null}`, "zip"},
		"p2c beside another alg": {`{"alg":"RSA-OAEP","enc":"A128GCM","p2c":1}`, "p2c"},
		"p2s beside another alg": {`{"alg":"RSA-OAEP","enc":"A128GCM","p2s":"AAAA"}`, "p2s"},
		"no epk":                 {`{"alg":"ECDH-ES","enc":"A128GCM"}`, "no epk"},
		"apu a number":           {`{"alg":"ECDH-ES","enc":"A128GCM","apu":1,` + goodEPK + `}`, "apu is not a string"},
		"apu padded":             {`{"alg":"ECDH-ES","enc":"A128GCM","apu":"QQ==",` + goodEPK + `}`, "apu is not a string"},
		"apv with a line break":  {`{"alg":"ECDH-ES","enc":"A128GCM","apv":"Q\nUJD",` + goodEPK + `}`, "apv is not a string"},
		"apv not canonical":      {`{"alg":"ECDH-ES","enc":"A128GCM","apv":"QR",` + goodEPK + `}`, "apv is not a string"},
	} {
		key := []byte("key")
		if strings.Contains(c.header, `"ECDH-ES"`) {
			key = nil
		}
		if _, err := ParseHeader([]byte(c.header), key); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestForm: what is wrong with the form or a length is told before any key is touched.
func TestForm(t *testing.T) {
	header := func(alg jose.KeyAlgorithm, enc jose.ContentEncryption) string {
		return strict.EncodeToString([]byte(`{"alg":"` + string(alg) + `","enc":"` + string(enc) + `",` + goodEPK + `}`))
	}
	bytes := func(n int) string { return strict.EncodeToString(make([]byte, n)) }
	join := func(parts ...string) string { return strings.Join(parts, ".") }
	gcm, cbc, hs512 := header(jose.RSA_OAEP, jose.A128GCM), header(jose.RSA_OAEP, jose.A128CBC_HS256), header(jose.RSA_OAEP, jose.A256CBC_HS512)
	direct, wrapped := header(jose.ECDH_ES, jose.A128GCM), header(jose.ECDH_ES_A128KW, jose.A256GCM)
	for name, c := range map[string]struct{ compact, want string }{
		"empty":                           {"", "1 parts"},
		"a JWS":                           {join(gcm, "", ""), "3 parts"},
		"five dots":                       {join(gcm, bytes(256), bytes(12), bytes(1), bytes(16), ""), "6 parts"},
		"only dots":                       {"....", "not a JSON object"},
		"the JSON form":                   {`{"protected":""}`, "1 parts"},
		"2 MiB":                           {join(gcm, bytes(256), bytes(12), bytes(3<<19), bytes(16)), "more than 1048576"},
		"a header too long":               {join(bytes(MaxHeader+1), bytes(256), bytes(12), bytes(1), bytes(16)), "header is longer"},
		"padding":                         {join(gcm, bytes(256)+"==", bytes(12), bytes(1), bytes(16)), "encrypted key is not base64url"},
		"the other alphabet":              {join(gcm, "+/+/", bytes(12), bytes(1), bytes(16)), "encrypted key is not base64url"},
		"a line break":                    {join(gcm, bytes(256), bytes(12), "AA\nAA", bytes(16)), "ciphertext is not base64url"},
		"a return at the end":             {join(gcm, bytes(256), bytes(12), bytes(1), bytes(16)+"\r\n"), "authentication tag is not base64url"},
		"a space before":                  {" " + join(gcm, bytes(256), bytes(12), bytes(1), bytes(16)), "header is not base64url"},
		"bits beyond the last byte":       {join(gcm, bytes(256), bytes(12), "AB", bytes(16)), "ciphertext is not base64url"},
		"RSA without an encrypted key":    {join(gcm, "", bytes(12), bytes(1), bytes(16)), "no encrypted key"},
		"ECDH-ES with an encrypted key":   {join(direct, bytes(24), bytes(12), bytes(1), bytes(16)), "it is empty"},
		"a wrapped key that is not there": {join(wrapped, "", bytes(12), bytes(1), bytes(16)), "has 0 bytes"},
		"a wrapped key of another length": {join(wrapped, bytes(24), bytes(12), bytes(1), bytes(16)), "has 24 bytes; with ECDH-ES+A128KW and A256GCM it has 40"},
		"a GCM iv too long":               {join(gcm, bytes(256), bytes(16), bytes(1), bytes(16)), "initialization vector has 16 bytes; A128GCM has 12"},
		"a GCM iv that is not there":      {join(gcm, bytes(256), "", bytes(1), bytes(16)), "initialization vector has 0"},
		"a GCM tag cut short":             {join(gcm, bytes(256), bytes(12), bytes(1), bytes(4)), "authentication tag has 4"},
		"a CBC iv too short":              {join(cbc, bytes(256), bytes(12), bytes(16), bytes(16)), "initialization vector has 12"},
		"CBC content of half a block":     {join(cbc, bytes(256), bytes(16), bytes(24), bytes(16)), "multiple of 16"},
		"CBC content of no block":         {join(cbc, bytes(256), bytes(16), "", bytes(16)), "multiple of 16"},
		"an HS256 tag not cut":            {join(cbc, bytes(256), bytes(16), bytes(16), bytes(32)), "authentication tag has 32"},
		"an HS512 tag of HS256's length":  {join(hs512, bytes(256), bytes(16), bytes(16), bytes(16)), "authentication tag has 16 bytes; A256CBC-HS512 has 32"},
	} {
		if _, err := Parse(c.compact); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, compact := range map[string]string{
		"GCM content of no bytes": join(gcm, bytes(256), bytes(12), "", bytes(16)),
		"the longest message":     join(gcm, bytes(256), bytes(12), bytes(700_000), bytes(16)),
	} {
		if _, err := Parse(compact); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKeysInHeader: a key that a header carries or points to is nothing to us.
func TestKeysInHeader(t *testing.T) {
	token := &softToken{key: rsaKey()}
	other := map[jose.HeaderKey]any{
		"jwk": jose.JSONWebKey{Key: otherRSA().Public()}, "jku": "http://127.0.0.1:1/jwks", "x5u": "http://127.0.0.1:1/x5u",
		"x5c": []string{"!"}, "typ": 7, "cty": "JWT", "iv": "!", "tag": 1, "b64": false,
	}
	m := parse(t, encrypt(t, token.Public(), jose.RSA_OAEP_256, jose.A256GCM, []byte("content"), other))
	if got, err := m.Open(t.Context(), token); string(got) != "content" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestKeyOnly(t *testing.T) {
	header := []byte(`{"alg":"RSA-OAEP","enc":"A128GCM"}`)
	m, err := ParseHeader(header, make([]byte, 256))
	if err != nil {
		t.Fatal(err)
	}
	token := &softToken{key: rsaKey()}
	if _, err := m.Open(t.Context(), token); !errors.Is(err, ErrMalformed) || len(token.trace) != 0 {
		t.Errorf("%v after %q", err, token.trace)
	}
	header[2] = 'X' // the caller's buffer is the caller's, and what Header returns too
	m.Header()[2] = 'Y'
	if !json.Valid(m.Header()) || string(m.Header()) != `{"alg":"RSA-OAEP","enc":"A128GCM"}` {
		t.Errorf("%s", m.Header())
	}
}

// TestMemory: what is refused costs memory in proportion to its length only.
func TestMemory(t *testing.T) {
	for name, compact := range map[string]string{
		"dots":        strings.Repeat(".", MaxMessage),
		"a key":       "e30." + strings.Repeat("A", MaxMessage-8) + "...",
		"a header":    strings.Repeat("W1tb", MaxHeader/3) + "....",
		"far too big": strings.Repeat("A", 8*MaxMessage),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse(compact)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 4*MaxMessage || err == nil {
			t.Errorf("%s: %d bytes were allocated; %v", name, n, err)
		}
	}
}
