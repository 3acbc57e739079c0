package door

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

func (s *Server) rotate(ctx context.Context, caller policy.Caller, w http.ResponseWriter, r *http.Request) (any, error) {
	var req v1.RotateRequest
	if err := s.read(ctx, caller, policy.Rotate, w, r, bareActBody, &req); err != nil {
		return nil, err
	}
	return s.config.Service.Rotate(ctx, caller, r.PathValue("name"), &req)
}

func (s *Server) revoke(ctx context.Context, caller policy.Caller, w http.ResponseWriter, r *http.Request) (any, error) {
	var req v1.RevokeRequest
	if err := s.read(ctx, caller, policy.Revoke, w, r, actBody, &req); err != nil {
		return nil, err
	}
	return s.config.Service.Revoke(ctx, caller, r.PathValue("name"), &req)
}

func (s *Server) freeze(ctx context.Context, caller policy.Caller, w http.ResponseWriter, r *http.Request) (any, error) {
	var req v1.FreezeRequest
	if err := s.read(ctx, caller, policy.Freeze, w, r, actBody, &req); err != nil {
		return nil, err
	}
	return s.config.Service.Freeze(ctx, caller, r.PathValue("name"), &req)
}

func (s *Server) thaw(ctx context.Context, caller policy.Caller, w http.ResponseWriter, r *http.Request) (any, error) {
	var req v1.ThawRequest
	if err := s.read(ctx, caller, policy.Freeze, w, r, bareActBody, &req); err != nil {
		return nil, err
	}
	return s.config.Service.Thaw(ctx, caller, r.PathValue("name"), &req)
}

func (s *Server) reload(ctx context.Context, caller policy.Caller, w http.ResponseWriter, r *http.Request) (any, error) {
	var req v1.ReloadRequest
	if err := s.read(ctx, caller, policy.Admin, w, r, reloadBody, &req); err != nil {
		return nil, err
	}
	return s.config.Service.Reload(ctx, caller, &req)
}

func (s *Server) acceptClock(ctx context.Context, caller policy.Caller, _ http.ResponseWriter, _ *http.Request) (any, error) {
	return struct{}{}, s.config.Service.AcceptClock(ctx, caller)
}

func (s *Server) plan(ctx context.Context, caller policy.Caller, _ http.ResponseWriter, r *http.Request) (any, error) {
	return s.config.Service.Plan(ctx, caller, r.PathValue("name"))
}

func (s *Server) history(ctx context.Context, caller policy.Caller, w http.ResponseWriter, r *http.Request) (any, error) {
	keyset := r.PathValue("name")
	if err := s.admit(ctx, caller, policy.Read, w, keyset); err != nil {
		return nil, err
	}
	limit, err := limitIn(r.URL.RawQuery)
	if err != nil {
		return nil, s.config.Service.Refuse(ctx, caller, policy.Read, keyset, err)
	}
	return s.config.Service.History(ctx, caller, keyset, limit)
}

// limitIn reads ?limit=N. Without it, it is 0.
func limitIn(query string) (int, *v1.Error) {
	values, err := url.ParseQuery(query)
	limit, given := values["limit"]
	switch {
	case err != nil || len(values) > 1 || len(values) == 1 && !given:
		return 0, &v1.Error{Reason: v1.BadRequest, Detail: "the query says something else than limit=N, which alone it can say"}
	case !given:
		return 0, nil
	}
	n, err := strconv.Atoi(limit[0])
	if err != nil || len(limit) > 1 || n < 1 {
		return 0, &v1.Error{Reason: v1.BadRequest, Detail: "limit must stand in the query once, as a whole number from 1"}
	}
	return n, nil
}

// actTimeout is how long the reply to an act may take, in all. The Service ends the act
// itself sooner, and so that this can be told.
const actTimeout = time.Minute

// act answers POST requests by which an operator changes what keysetd does. RequestTimeout is
// for the request until it is read: from then on neither that nor the operator's hanging up ends an
// act, which the Service sees to. Here the reply gets time to follow.
func (s *Server) act(operation policy.Operation, do call) http.Handler {
	return s.route(http.MethodPost, operation, func(ctx context.Context, caller policy.Caller, w http.ResponseWriter, r *http.Request) (any, error) {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.config.BodyTimeout + actTimeout)); err != nil {
			return nil, fmt.Errorf("giving the operator's act its time: %w", err)
		}
		return do(ctx, caller, w, r)
	})
}
