package door

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"runtime/debug"

	"github.com/go-json-experiment/json"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
)

// call performs one operation and returns the reply's body.
type call func(ctx context.Context, caller policy.Caller, w http.ResponseWriter, r *http.Request) (any, error)

// routes is the table of doors (design.md).
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/keysets", s.route(http.MethodGet, policy.Read, s.keysets))
	mux.Handle("/v1/keysets/{name}", s.route(http.MethodGet, policy.Read, s.keyset))
	mux.Handle("/v1/keysets/{name}/jwt", s.route(http.MethodPost, policy.JWT, s.signJWT))
	mux.Handle("/v1/keysets/{name}/sign", s.route(http.MethodPost, policy.Sign, s.sign))
	mux.Handle("/v1/keysets/{name}/client-assertion", s.route(http.MethodPost, policy.ClientAssertion, s.assertion))
	mux.Handle("/v1/keysets/{name}/batch", s.route(http.MethodPost, signing.OpBatch, s.batch))
	mux.Handle("/v1/keysets/{name}/decrypt", s.route(http.MethodPost, policy.Decrypt, s.decrypt))
	mux.Handle("/v1/keysets/{name}/key", s.route(http.MethodGet, policy.Read, s.key))
	mux.Handle("/v1/keysets/{name}/plan", s.route(http.MethodGet, policy.Read, s.plan))
	mux.Handle("/v1/keysets/{name}/history", s.route(http.MethodGet, policy.Read, s.history))
	mux.Handle("/v1/keysets/{name}/keys", s.route(http.MethodGet, policy.Read, s.keys))
	mux.Handle("/v1/keysets/{name}/rotate", s.act(policy.Rotate, s.rotate))
	mux.Handle("/v1/keysets/{name}/revoke", s.act(policy.Revoke, s.revoke))
	mux.Handle("/v1/keysets/{name}/freeze", s.act(policy.Freeze, s.freeze))
	mux.Handle("/v1/keysets/{name}/thaw", s.act(policy.Freeze, s.thaw))
	mux.Handle("/v1/keysets/{name}/csr", s.route(http.MethodGet, policy.Certificate, s.csr))
	mux.Handle("/v1/keysets/{name}/certificate", s.act(policy.Certificate, s.importCertificate))
	mux.Handle("/v1/reload", s.act(policy.Admin, s.reload))
	mux.Handle("/v1/clock/accept", s.act(policy.Admin, s.acceptClock))
	mux.Handle("/v1/tokens/{name}/pin-retry", s.route(http.MethodPost, policy.Admin, s.pinRetry))
	mux.Handle("/v1/tokens/{name}/accept", s.route(http.MethodPost, policy.Admin, s.accept))
	mux.Handle("/v1/whoami", s.route(http.MethodGet, signing.OpWhoAmI, s.whoami))
	mux.Handle("/v1/policy-test", s.route(http.MethodPost, policy.Admin, s.policyTest))
	nothing := s.route("", "", notFound)
	mux.Handle("/", nothing)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*conn); ok {
			defer c.begin()()
		}
		if path.Clean(r.URL.Path) != r.URL.Path { // ServeMux would redirect, in HTML
			nothing.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) keysets(ctx context.Context, caller policy.Caller, _ http.ResponseWriter, _ *http.Request) (any, error) {
	return s.config.Service.Keysets(ctx, caller)
}

func (s *Server) keyset(ctx context.Context, caller policy.Caller, _ http.ResponseWriter, r *http.Request) (any, error) {
	return s.config.Service.Keyset(ctx, caller, r.PathValue("name"))
}

func (s *Server) keys(ctx context.Context, caller policy.Caller, _ http.ResponseWriter, r *http.Request) (any, error) {
	return s.config.Service.Keys(ctx, caller, r.PathValue("name"))
}

func (s *Server) signJWT(ctx context.Context, caller policy.Caller, w http.ResponseWriter, r *http.Request) (any, error) {
	var req v1.JWTRequest
	if err := s.read(ctx, caller, policy.JWT, w, r, jwtBody, &req); err != nil {
		return nil, err
	}
	return s.config.Service.SignJWT(ctx, caller, r.PathValue("name"), &req)
}

func (s *Server) sign(ctx context.Context, caller policy.Caller, w http.ResponseWriter, r *http.Request) (any, error) {
	var req v1.SignRequest
	if err := s.read(ctx, caller, policy.Sign, w, r, signBody, &req); err != nil {
		return nil, err
	}
	return s.config.Service.Sign(ctx, caller, r.PathValue("name"), &req)
}

// read decodes the body of a caller who may do this into req. What cannot be understood
// stands in the audit log like every other refusal.
func (s *Server) read(ctx context.Context, caller policy.Caller, op policy.Operation, w http.ResponseWriter, r *http.Request, b body, req any) error {
	keyset := r.PathValue("name")
	if err := s.admit(ctx, caller, op, w, keyset); err != nil {
		return err
	}
	taken := s.bodies.hold(identity(s.config.Service, caller))
	context.AfterFunc(r.Context(), taken.free) // when it has been answered
	if err := b.decode(w, r, taken, req); err != nil {
		return s.config.Service.Refuse(ctx, caller, op, keyset, err)
	}
	return nil
}

// admit refuses a caller who may not do this, before more of the request is looked at.
func (s *Server) admit(ctx context.Context, caller policy.Caller, op policy.Operation, w http.ResponseWriter, keyset string) error {
	err := s.config.Service.Admit(ctx, caller, op, keyset)
	if err != nil {
		// What it still sends is not waited for.
		w.Header().Set("Connection", "close")
	}
	return err
}

func (s *Server) pinRetry(ctx context.Context, caller policy.Caller, _ http.ResponseWriter, r *http.Request) (any, error) {
	return s.config.Service.PINRetry(ctx, caller, r.PathValue("name"))
}

func (s *Server) accept(ctx context.Context, caller policy.Caller, w http.ResponseWriter, r *http.Request) (any, error) {
	var req v1.AcceptRequest
	if err := s.read(ctx, caller, policy.Admin, w, r, actBody, &req); err != nil {
		return nil, err
	}
	return s.config.Service.Accept(ctx, caller, r.PathValue("name"), &req)
}

func notFound(context.Context, policy.Caller, http.ResponseWriter, *http.Request) (any, error) {
	return nil, &v1.Error{Reason: v1.NotFound, Detail: "there is nothing at this path; GET /v1/keysets lists the keysets"}
}

// route answers the requests for one path. An empty method stands for all.
func (s *Server) route(method string, operation policy.Operation, do call) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reply, err := s.perform(method, operation, do, w, r)
		var body []byte
		if err == nil {
			body, err = json.Marshal(reply)
		}
		if err == nil {
			s.config.Metrics.answered(overHTTP, operation, nil)
			write(w, http.StatusOK, "application/json", body)
			return
		}
		e := told(s.config.Logger, operation, err)
		s.config.Metrics.answered(overHTTP, operation, e)
		writeProblem(w, e)
	})
}

// perform runs do, and turns a panic in it into an error: one request's fault is not the
// daemon's end.
func (s *Server) perform(method string, operation policy.Operation, do call, w http.ResponseWriter, r *http.Request) (reply any, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.config.Logger.Error("panic in a request", "operation", operation, "panic", p, "stack", string(debug.Stack()))
			reply, err = nil, internal()
		}
	}()
	if method != "" && r.Method != method {
		w.Header().Set("Allow", method)
		return nil, &v1.Error{Reason: v1.MethodNotAllowed, Detail: fmt.Sprintf("this path takes %s", method)}
	}
	caller, err := callerOf(r.Context())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.config.RequestTimeout)
	defer cancel()
	return do(ctx, caller, w, r)
}
