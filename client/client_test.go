package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
	"keysetd.example/client/internal/clienttest"
	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing/signingtest"
)

func open(t *testing.T) (*client.Client, *signingtest.World) {
	t.Helper()
	w := signingtest.New(t, signingtest.All(uint32(os.Getuid())))
	socket := clienttest.SocketPath(t)
	clienttest.Serve(t, w, socket)
	return clienttest.Dial(t, socket), w
}

func claims(more string) jsontext.Value {
	return jsontext.Value(fmt.Sprintf(`{ "exp" : %d%s }`, time.Now().Add(time.Minute).Unix(), more))
}

func TestSignAndRead(t *testing.T) {
	c, w := open(t)
	body := claims(`, "x": "\u0041\/"`)
	for _, req := range []v1.JWTRequest{
		{Claims: body},
		{Claims: body, Alg: "ES256", KID: w.KIDs[keyspec.P256], Header: map[string]jsontext.Value{"typ": jsontext.Value(`"JWT"`)}},
	} {
		reply, err := c.SignJWT(t.Context(), "default", &req)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := jose.ParseSignedCompact(reply.Token, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		if payload, err := sig.Verify(w.Keys[keyspec.P256].Public); err != nil || string(payload) != string(body) {
			t.Errorf("payload %s, want %s; %v", payload, body, err)
		}
		input := reply.Token[:strings.LastIndex(reply.Token, ".")]
		if again, err := c.SignJWT(t.Context(), "default", &v1.JWTRequest{SigningInput: input}); err != nil || again.Signature == "" {
			t.Errorf("signing input: %+v, %v", again, err)
		}
	}
	if reply, err := c.Sign(t.Context(), "raw", &v1.SignRequest{Alg: "EdDSA", Payload: new("")}); err != nil || reply.KID != w.KIDs[keyspec.Ed25519] {
		t.Errorf("sign: %+v, %v", reply, err)
	}
	list, err := c.Keysets(t.Context())
	if err != nil || len(list.Keysets) != 5 || len(list.Tokens) != 1 {
		t.Errorf("keysets: %+v, %v", list, err)
	}
	one, err := c.Keyset(t.Context(), "default")
	if err != nil || !one.Ready || one.Generations[0].Keys[0].KID == "" || one.NextRotation.IsZero() {
		t.Errorf("keyset: %+v, %v", one, err)
	}
}

// sentinels is the table that errors.go must match.
var sentinels = map[v1.Reason]error{
	v1.BadRequest: client.ErrBadRequest, v1.BadClaims: client.ErrBadClaims, v1.BadHeader: client.ErrBadHeader,
	v1.BadSigningInput: client.ErrBadSigningInput, v1.BadDigest: client.ErrBadDigest, v1.LifetimeTooLong: client.ErrLifetimeTooLong,
	v1.IssuerMismatch: client.ErrIssuerMismatch, v1.TooLarge: client.ErrTooLarge, v1.NotFound: client.ErrNotFound,
	v1.MethodNotAllowed: client.ErrMethodNotAllowed, v1.UnsupportedMediaType: client.ErrUnsupportedMediaType,
	v1.KeysetUnknown: client.ErrKeysetUnknown, v1.AlgorithmUnavailable: client.ErrAlgorithmUnavailable,
	v1.KidNotActive: client.ErrKidNotActive, v1.PurposeMismatch: client.ErrPurposeMismatch, v1.NotGranted: client.ErrNotGranted,
	v1.NotReady: client.ErrNotReady, v1.Unavailable: client.ErrUnavailable, v1.Overloaded: client.ErrOverloaded,
	v1.NotYet: client.ErrNotYet, v1.RateLimited: client.ErrRateLimited, v1.Frozen: client.ErrFrozen, v1.KidUnknown: client.ErrKidUnknown,
	v1.BadConfiguration: client.ErrBadConfiguration, v1.DecryptionFailed: client.ErrDecryptionFailed,
	v1.DeadlineExceeded: client.ErrDeadlineExceeded, v1.AuditFailed: client.ErrAuditFailed, v1.Internal: client.ErrInternal,
}

func TestEveryReasonIsAnError(t *testing.T) {
	for _, reason := range v1.Reasons() {
		err := fmt.Errorf("wrapped: %w", &v1.Error{Reason: reason, Detail: "detail"})
		for other, sentinel := range sentinels {
			if errors.Is(err, sentinel) != (other == reason) {
				t.Errorf("errors.Is of %s and %s", reason, other)
			}
		}
		if sentinels[reason] == nil || sentinels[reason].Error() != string(reason) {
			t.Errorf("%s: %v", reason, sentinels[reason])
		}
	}
	one, other := &v1.Error{Reason: v1.NotGranted, Detail: "one"}, &v1.Error{Reason: v1.NotGranted, Detail: "other"}
	if errors.Is(one, other) {
		t.Error("an error with detail stands for all of its reason")
	}
}

func TestErrorsComeBackWhole(t *testing.T) {
	c, w := open(t)
	_, err := c.SignJWT(t.Context(), "default", &v1.JWTRequest{Claims: claims(`,"iss":"x"`)})
	e, ok := errors.AsType[*v1.Error](err)
	if !errors.Is(err, client.ErrIssuerMismatch) || !ok || e.Field != "/claims/iss" || e.Detail == "" {
		t.Errorf("%+v", err)
	}
	c = clienttest.Dial(t, c.Socket(), client.WithRetries(0))
	w.Keys[keyspec.P256].Fail(hsm.ErrOverloaded)
	_, err = c.SignJWT(t.Context(), "default", &v1.JWTRequest{Claims: claims("")})
	if e, _ := errors.AsType[*v1.Error](err); !errors.Is(err, client.ErrOverloaded) || e.RetryAfterMillis != 100 {
		t.Errorf("%+v", err)
	}
	for _, name := range []string{"nope", "a/b", "a b?c#d%", "é"} {
		if _, err := c.Keyset(t.Context(), name); !errors.Is(err, client.ErrKeysetUnknown) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "..", "."} {
		if _, err := c.Keyset(t.Context(), name); err == nil {
			t.Errorf("%q was found", name)
		}
	}
}

// Claims are put into the body as they are, so they must not be able to break out of it.
func TestClaimsCannotBreakOut(t *testing.T) {
	c, w := open(t)
	for _, evil := range []string{`{},"alg":"RS256"`, `{`, `{}}`, ``, ` `, `{"a":1,"a":2}`, "{\"\xff\":1}"} {
		if _, err := c.SignJWT(t.Context(), "default", &v1.JWTRequest{Claims: jsontext.Value(evil)}); err == nil {
			t.Errorf("%q was signed", evil)
		} else if evil != "" && !errors.Is(err, client.ErrBadClaims) {
			t.Errorf("%q: %v", evil, err)
		}
	}
	if n := w.Keys[keyspec.RSA2048].Calls.Load(); n != 0 {
		t.Errorf("%d signatures", n)
	}
}

func TestUnreachable(t *testing.T) {
	dir := filepath.Dir(clienttest.SocketPath(t))
	refused := filepath.Join(dir, "refused")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: refused})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for socket, hint := range map[string]string{
		filepath.Join(dir, "absent"): "start keysetd, or name its socket with KEYSETD_SOCKET",
		refused:                      "nobody listens there",
	} {
		c, err := client.Dial(socket)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Keysets(t.Context())
		if !errors.Is(err, client.ErrUnreachable) || !strings.Contains(err.Error(), socket) || !strings.Contains(err.Error(), hint) || strings.Contains(err.Error(), "http:") {
			t.Errorf("%s: %v", socket, err)
		}
	}
	if _, err := client.Dial("/" + strings.Repeat("s", 200)); err == nil {
		t.Error("a path that no socket can have was taken")
	}
}

func TestWhichSocket(t *testing.T) {
	for env, want := range map[string]string{"": client.DefaultSocket, "/tmp/other": "/tmp/other"} {
		t.Setenv(client.SocketVariable, env)
		if c, err := client.Dial(""); err != nil || c.Socket() != want {
			t.Errorf("%s=%q: %v, %v", client.SocketVariable, env, c, err)
		}
		if c, err := client.Dial("/tmp/mine"); err != nil || c.Socket() != "/tmp/mine" {
			t.Errorf("an explicit socket: %v, %v", c, err)
		}
	}
}

func TestCallersDeadline(t *testing.T) {
	c, w := open(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	w.Keys[keyspec.P256].Hook(func(inner context.Context) { cancel(cause); <-inner.Done() })
	_, err := c.SignJWT(ctx, "default", &v1.JWTRequest{Claims: claims("")})
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), c.Socket()) {
		t.Errorf("%v", err)
	}
}

// The daemon may be restarted under its callers: a connection to the old one that lay idle
// costs nobody a call.
func TestDaemonRestarted(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uint32(os.Getuid())))
	socket := clienttest.SocketPath(t)
	c, err := client.Dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 20 {
		stop := clienttest.Serve(t, w, socket)
		for range 3 {
			if _, err := c.SignJWT(t.Context(), "default", &v1.JWTRequest{Claims: claims("")}); err != nil {
				t.Fatal(err)
			}
		}
		stop()
	}
}

// The same where the old daemon's end is noticed only once the request is written.
func TestConnectionEndsUnderARequest(t *testing.T) {
	socket := clienttest.SocketPath(t)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var answering sync.WaitGroup
	defer answering.Wait()
	defer l.Close()
	answering.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(conn)
			for first := true; ; first = false {
				req, err := http.ReadRequest(r)
				if err != nil {
					break
				}
				io.Copy(io.Discard, req.Body)
				if _, sent := req.Header["Idempotency-Key"]; sent {
					t.Error("Idempotency-Key was sent")
				}
				if !first { // read, and no answer ever
					break
				}
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n"+`{"token":"a.b.c"}`)
			}
			conn.Close()
		}
	})
	c, err := client.Dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 5 {
		if reply, err := c.SignJWT(t.Context(), "default", &v1.JWTRequest{Claims: claims("")}); err != nil || reply.Token != "a.b.c" {
			t.Fatalf("%+v, %v", reply, err)
		}
	}
}

func TestSomethingElseAnswers(t *testing.T) {
	socket := clienttest.SocketPath(t)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	go server.Serve(l)
	defer server.Close()
	c, err := client.Dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Keysets(t.Context()); err == nil || !strings.Contains(err.Error(), "not keysetd") {
		t.Errorf("%v", err)
	}
}
