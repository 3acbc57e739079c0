package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
	"keysetd.example/client/keysetdtest"
)

// jwks fetches a JWKS, as a verifier does.
func jwks(url string) (*jose.JSONWebKeySet, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	set := new(jose.JSONWebKeySet)
	return set, json.NewDecoder(resp.Body).Decode(set)
}

// A token is signed, and verified with the JWKS.
func ExampleClient_SignJWT() {
	ctx := context.Background()
	d, err := keysetdtest.Launch(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	c, err := client.Dial(d.Socket)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	claims, err := json.Marshal(map[string]any{"iss": keysetdtest.Issuer, "sub": "alice", "exp": time.Now().Add(time.Minute).Unix()})
	if err != nil {
		log.Fatal(err)
	}
	reply, err := c.SignJWT(ctx, "default", &v1.JWTRequest{Claims: claims})
	if err != nil {
		log.Fatal(err)
	}

	keys, err := jwks(d.JWKSURL("default"))
	if err != nil {
		log.Fatal(err)
	}
	token, err := jwt.ParseSigned(reply.Token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		log.Fatal(err)
	}
	var verified jwt.Claims
	if err := token.Claims(keys, &verified); err != nil {
		log.Fatal(err)
	}
	fmt.Println(verified.Issuer, verified.Subject)
	// Output: https://issuer.test.example alice
}

// A SAML assertion's SignedInfo is signed: its digest goes to keysetd. An XML library makes the
// canonical form, and takes the signature as it is: r and s one after the other (XML Signature §6.4.3).
func ExampleClient_Sign_samlAssertion() {
	ctx := context.Background()
	d, err := keysetdtest.Launch(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	c, err := client.Dial(d.Socket)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	canonical := []byte(`<ds:SignedInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#">…</ds:SignedInfo>`)
	digest := sha256.Sum256(canonical)
	encoded := base64.RawURLEncoding.EncodeToString(digest[:])
	reply, err := c.Sign(ctx, "raw", &v1.SignRequest{Digest: &encoded, Alg: "ES256"})
	if err != nil {
		log.Fatal(err)
	}

	keys, err := jwks(d.JWKSURL("raw"))
	if err != nil {
		log.Fatal(err)
	}
	signature, err := base64.RawURLEncoding.DecodeString(reply.Signature)
	if err != nil {
		log.Fatal(err)
	}
	key := keys.Key(reply.KID)[0]
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	fmt.Println(ecdsa.Verify(key.Key.(*ecdsa.PublicKey), digest[:], r, s))
	fmt.Println(key.Certificates[0].Subject.Organization)
	// Output:
	// true
	// [keysetdtest]
}

// A TLS server has its key in the token. Its certificate is the key's own, so the peer pins it by the
// JWKS instead of asking an authority.
func ExampleSigner_Certificate() {
	ctx := context.Background()
	d, err := keysetdtest.Launch(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	c, err := client.Dial(d.Socket)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "signed in the token")
	}))
	server.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		s, err := c.Signer(hello.Context(), "raw", "ES256")
		if err != nil {
			return nil, err
		}
		return s.WithContext(hello.Context()).Certificate()
	}}
	server.StartTLS()
	defer server.Close()

	keys, err := jwks(d.JWKSURL("raw"))
	if err != nil {
		log.Fatal(err)
	}
	peer := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		ServerName:         "service.test.example", // httptest's own certificate answers where no name is asked for
		InsecureSkipVerify: true,                   // VerifyConnection does it
		VerifyConnection: func(state tls.ConnectionState) error {
			for _, key := range keys.Keys {
				if key.Certificates[0].Equal(state.PeerCertificates[0]) {
					return nil
				}
			}
			return errors.New("the certificate is not in the JWKS")
		},
	}}}
	resp, err := peer.Get(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(body))
	// Output: signed in the token
}

// An ID token is encrypted to the keyset's JWKS, and decrypted in the token.
func ExampleClient_Decrypt() {
	ctx := context.Background()
	d, err := keysetdtest.Launch(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	c, err := client.Dial(d.Socket)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	keys, err := jwks(d.JWKSURL("enc"))
	if err != nil {
		log.Fatal(err)
	}
	encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.ECDH_ES, Key: keys.Keys[0]}, nil)
	if err != nil {
		log.Fatal(err)
	}
	jwe, err := encrypter.Encrypt([]byte("header.claims.signature"))
	if err != nil {
		log.Fatal(err)
	}
	compact, err := jwe.CompactSerialize()
	if err != nil {
		log.Fatal(err)
	}

	reply, err := c.Decrypt(ctx, "enc", &v1.DecryptRequest{JWE: compact})
	if err != nil {
		log.Fatal(err)
	}
	idToken, err := base64.RawURLEncoding.DecodeString(*reply.Plaintext)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(idToken))
	// Output: header.claims.signature
}
