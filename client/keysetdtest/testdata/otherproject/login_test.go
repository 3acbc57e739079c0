package otherproject_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client/keysetdtest"
)

func TestLogin(t *testing.T) {
	d := keysetdtest.Start(t)
	c := d.Client(t)
	for range 2 {
		claims, _ := json.Marshal(map[string]any{"iss": keysetdtest.Issuer, "sub": "alice", "exp": time.Now().Add(time.Minute).Unix()})
		reply, err := c.SignJWT(t.Context(), "default", &v1.JWTRequest{Claims: claims})
		if err != nil {
			t.Fatal(err)
		}
		token, err := jwt.ParseSigned(reply.Token, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Get(d.JWKSURL("default"))
		if err != nil {
			t.Fatal(err)
		}
		var keys jose.JSONWebKeySet
		err = json.NewDecoder(resp.Body).Decode(&keys)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := token.Claims(&keys, &jwt.Claims{}); err != nil {
			t.Fatal(err)
		}
		d.Rotate(t, "default") // from here on another key signs
	}
}
