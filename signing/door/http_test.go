package door

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus/testutil"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

func claims(more string) string {
	return fmt.Sprintf(`{ "exp" : %d%s }`, time.Now().Add(time.Minute).Unix(), more)
}

func TestSignOverTheSocket(t *testing.T) {
	h := open(t)
	body := claims(`,"x": "\u0041"`)
	resp, reply := h.do(t, "POST", "/v1/keysets/default/jwt", `{"claims": `+body+`, "alg":"ES256", "header":{"typ":"at+jwt"}}`)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" || !strings.HasSuffix(reply, "}\n") {
		t.Fatalf("%s %v %s", resp.Status, resp.Header, reply)
	}
	var r v1.JWTReply
	if err := json.Unmarshal([]byte(reply), &r); err != nil {
		t.Fatal(err)
	}
	sig, err := jose.ParseSignedCompact(r.Token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := sig.Verify(h.Keys[keyspec.P256].Public)
	if err != nil || string(payload) != body {
		t.Errorf("payload %s, want %s; %v", payload, body, err)
	}
	caller := h.Audit.Last().Caller
	if int(caller.UID) != os.Getuid() || int(caller.GID) != os.Getgid() || int(caller.PID) != os.Getpid() {
		t.Errorf("caller %+v", caller)
	}

	if resp, reply := h.do(t, "POST", "/v1/keysets/raw/sign", `{"alg":"EdDSA","payload":"aGk="}`); resp.StatusCode != 200 || !strings.Contains(reply, `"alg":"EdDSA"`) {
		t.Errorf("sign: %s %s", resp.Status, reply)
	}
	if resp, reply := h.do(t, "GET", "/v1/keysets", ""); resp.StatusCode != 200 || !strings.Contains(reply, `"tokens":[{"name":"main","up":true`) {
		t.Errorf("list: %s %s", resp.Status, reply)
	}
	if resp, reply := h.do(t, "GET", "/v1/keysets/enc", ""); resp.StatusCode != 200 || !strings.Contains(reply, `"algorithms":["RSA-OAEP",`) {
		t.Errorf("get: %s %s", resp.Status, reply)
	}
	for labels, want := range map[string]float64{"jwt": 1, "sign": 1, "read": 2} {
		if got := testutil.ToFloat64(h.metrics.requests.WithLabelValues("http", labels, "ok")); got != want {
			t.Errorf("requests of %s: %v", labels, got)
		}
	}
}

func TestBadRequests(t *testing.T) {
	h := open(t)
	const jwt, sign = "POST /v1/keysets/default/jwt", "POST /v1/keysets/raw/sign"
	far := fmt.Sprintf(`{"exp":%d}`, time.Now().Add(2*time.Hour).Unix())
	for name, test := range map[string]struct {
		line, body string
		status     int
		reason     v1.Reason
		field      string
	}{
		"path":              {"GET /", "", 404, v1.NotFound, ""},
		"path below":        {"GET /v1/keysets/default/plan/x", "", 404, v1.NotFound, ""},
		"path not clean":    {"GET /v1/keysets//default", "", 404, v1.NotFound, ""},
		"path upwards":      {"POST /v1/keysets/../jwt", "{}", 404, v1.NotFound, ""},
		"path, slash":       {"GET /v1/keysets/default/", "", 404, v1.NotFound, ""},
		"name with a slash": {"GET /v1/keysets/a%2Fb", "", 404, v1.KeysetUnknown, ""},
		"method":            {"GET /v1/keysets/default/jwt", "", 405, v1.MethodNotAllowed, ""},
		"method, list":      {"POST /v1/keysets", "{}", 405, v1.MethodNotAllowed, ""},
		"keyset":            {"POST /v1/keysets/nope/jwt", `{"claims":` + claims("") + `}`, 404, v1.KeysetUnknown, ""},
		"keyset, read":      {"GET /v1/keysets/nope", "", 404, v1.KeysetUnknown, ""},
		"empty":             {jwt, "", 400, v1.BadRequest, ""},
		"null":              {jwt, "null", 400, v1.BadRequest, "/claims"},
		"array":             {jwt, "[]", 400, v1.BadRequest, ""},
		"no JSON":           {jwt, "claims=1", 400, v1.BadRequest, ""},
		"cut short":         {jwt, `{"claims":{"exp":1`, 400, v1.BadRequest, "/claims"},
		"trailing":          {jwt, `{"claims":` + claims("") + `}{}`, 400, v1.BadRequest, ""},
		"unknown field":     {jwt, `{"claims":` + claims("") + `,"lifetime":1}`, 400, v1.BadRequest, "/lifetime"},
		"field's case":      {jwt, `{"Claims":` + claims("") + `}`, 400, v1.BadRequest, "/Claims"},
		"field twice":       {jwt, `{"alg":"ES256","alg":"RS256"}`, 400, v1.BadRequest, "/alg"},
		"claims twice":      {jwt, `{"claims":` + claims("") + `,"claims":` + claims("") + `}`, 400, v1.BadRequest, "/claims"},
		"field's type":      {jwt, `{"alg":256}`, 400, v1.BadRequest, "/alg"},
		"header's type":     {jwt, `{"header":[]}`, 400, v1.BadRequest, "/header"},
		"not UTF-8":         {jwt, "{\"alg\":\"\xff\"}", 400, v1.BadRequest, "/alg"},
		"claims no object":  {jwt, `{"claims":[]}`, 400, v1.BadClaims, "/claims"},
		"claims null":       {jwt, `{"claims":null}`, 400, v1.BadClaims, "/claims"},
		"member twice":      {jwt, `{"claims":` + claims(`,"a":1,"a":2`) + `}`, 400, v1.BadClaims, "/claims/a"},
		"member twice deep": {jwt, `{"claims":` + claims(`,"a":[{"b":1,"b":2}]`) + `}`, 400, v1.BadClaims, "/claims/a/0/b"},
		"claims not UTF-8":  {jwt, `{"claims":` + claims(",\"a\":\"\xff\"") + `}`, 400, v1.BadClaims, "/claims/a"},
		"exp 1e400":         {jwt, `{"claims":{"exp":1e400}}`, 400, v1.BadClaims, "/claims/exp"},
		"exp 1.5":           {jwt, `{"claims":{"exp":1.5}}`, 400, v1.BadClaims, "/claims/exp"},
		"exp far":           {jwt, `{"claims":` + far + `}`, 400, v1.LifetimeTooLong, "/claims/exp"},
		"iss":               {jwt, `{"claims":` + claims(`,"iss":"x"`) + `}`, 400, v1.IssuerMismatch, "/claims/iss"},
		"claims of 65 KiB":  {jwt, `{"claims":` + claims(`,"a":"`+strings.Repeat("x", 65<<10)+`"`) + `}`, 413, v1.TooLarge, "/claims"},
		"claims nested":     {jwt, `{"claims":` + claims(`,"a":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)) + `}`, 400, v1.BadClaims, "/claims"},
		"body of 2 MiB":     {sign, `{"alg":"ES256","payload":"` + strings.Repeat("A", 2<<20) + `"}`, 413, v1.TooLarge, ""},
		"header alg":        {jwt, `{"claims":` + claims("") + `,"header":{"alg":"none"}}`, 400, v1.BadHeader, "/header/alg"},
		"header twice":      {jwt, `{"claims":` + claims("") + `,"header":{"typ":"a","typ":"b"}}`, 400, v1.BadHeader, "/header/typ"},
		"signing input":     {jwt, `{"signing_input":"e30.e30.e30"}`, 400, v1.BadSigningInput, "/signing_input"},
		"no key for alg":    {jwt, `{"claims":` + claims("") + `,"alg":"HS256"}`, 400, v1.AlgorithmUnavailable, "/alg"},
		"kid":               {jwt, `{"claims":` + claims("") + `,"kid":"gone"}`, 409, v1.KidNotActive, "/kid"},
		"purpose":           {"POST /v1/keysets/raw/jwt", `{"claims":` + claims("") + `}`, 403, v1.PurposeMismatch, ""},
		"not ready":         {"POST /v1/keysets/empty/jwt", `{"claims":` + claims("") + `}`, 503, v1.NotReady, ""},
		"digest":            {sign, `{"alg":"ES256","digest":"AAAA"}`, 400, v1.BadDigest, "/digest"},
		"sign's field":      {sign, `{"alg":"ES256","payload":"","hash":"x"}`, 400, v1.BadRequest, "/hash"},
	} {
		method, path, _ := strings.Cut(test.line, " ")
		resp, body := h.do(t, method, path, test.body)
		checkProblem(t, name, resp, body, test.status, test.reason, test.field)
	}
	// And the daemon goes on.
	if resp, body := h.do(t, "POST", "/v1/keysets/default/jwt", `{"claims":`+claims("")+`}`); resp.StatusCode != 200 {
		t.Errorf("afterwards: %s %s", resp.Status, body)
	}
}

func checkProblem(t *testing.T, name string, resp *http.Response, body string, status int, reason v1.Reason, field string) {
	t.Helper()
	var p struct {
		Type, Title, Detail, Field string
		Reason                     v1.Reason
		Status                     int
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Errorf("%s: %s %q: %v", name, resp.Status, body, err)
		return
	}
	if resp.StatusCode != status || p.Status != status || p.Reason != reason || p.Field != field {
		t.Errorf("%s: got %d %s", name, resp.StatusCode, body)
	}
	if p.Type != "about:blank" || p.Title != http.StatusText(status) || p.Detail == "" || len(body) > 1500 || strings.Count(body, "\n") != 1 {
		t.Errorf("%s: %s", name, body)
	}
	if resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: %v", name, resp.Header)
	}
}

func TestMediaType(t *testing.T) {
	h := open(t)
	for kind, status := range map[string]int{
		"application/json": 200, "application/json; charset=utf-8": 200, "Application/JSON": 200,
		"application/x-www-form-urlencoded": 415, "": 415, "application/jsonx": 415, "text/plain": 415,
	} {
		req, _ := http.NewRequest("POST", "http://x/v1/keysets/default/jwt", strings.NewReader(`{"claims":`+claims("")+`}`))
		req.Header.Set("Content-Type", kind)
		resp, body := h.send(t, req)
		if resp.StatusCode != status {
			t.Errorf("%q: %s %s", kind, resp.Status, body)
		}
		if status == 415 {
			checkProblem(t, kind, resp, body, 415, v1.UnsupportedMediaType, "")
		}
	}
}

func TestEveryReasonHasAStatus(t *testing.T) {
	for _, reason := range v1.Reasons() {
		if http.StatusText(statuses[reason].http) == "" {
			t.Errorf("%s has no status", reason)
		}
	}
	for reason := range statuses {
		if !slices.Contains(v1.Reasons(), reason) {
			t.Errorf("%s is in the table and in no list", reason)
		}
	}
}

func TestRetryAfterAndAllow(t *testing.T) {
	h := open(t)
	h.Keys[keyspec.P256].Fail(hsm.ErrOverloaded)
	resp, body := h.do(t, "POST", "/v1/keysets/default/jwt", `{"claims":`+claims("")+`}`)
	checkProblem(t, "overloaded", resp, body, 503, v1.Overloaded, "")
	if resp.Header.Get("Retry-After") != "1" || !strings.Contains(body, `"retry_after_ms":100`) {
		t.Errorf("%v %s", resp.Header, body)
	}
	if resp, _ := h.do(t, "DELETE", "/v1/keysets/default", ""); resp.Header.Get("Allow") != "GET" {
		t.Errorf("Allow: %v", resp.Header)
	}
}

func TestPanicIsOneRequestsFault(t *testing.T) {
	h := open(t)
	h.Keys[keyspec.P256].Hook(func(context.Context) { panic("boom") })
	resp, body := h.do(t, "POST", "/v1/keysets/default/jwt", `{"claims":`+claims("")+`}`)
	checkProblem(t, "panic", resp, body, 500, v1.Internal, "")
	if strings.Contains(body, "boom") || !strings.Contains(h.log.String(), "boom") {
		t.Errorf("body %s\nlog %s", body, h.log)
	}
	h.Keys[keyspec.P256].Hook(nil)
	if resp, body := h.do(t, "POST", "/v1/keysets/default/jwt", `{"claims":`+claims("")+`}`); resp.StatusCode != 200 {
		t.Errorf("afterwards: %s %s", resp.Status, body)
	}
}
