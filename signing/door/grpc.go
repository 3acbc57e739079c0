package door

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/proto"

	pb "keysetd.example/api/v1/keysetdpb"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
)

const (
	// maxMessage is what a request over gRPC may have, in bytes: 1 MiB of payload or of a batch,
	// and what stands beside it.
	maxMessage = 1<<20 + 64<<10
	// maxStreams is how many requests a connection may have in flight. More are refused one by one.
	maxStreams = 256
)

// language is gRPC on the socket.
type language struct {
	*grpc.Server
	config   Config
	places   places
	health   *health.Server
	stopping context.Context // ends when Shutdown begins
	stop     context.CancelFunc
}

func newLanguage(c Config, bodies *budget) *language {
	g := &language{config: c, places: newPlaces(bodies), health: health.NewServer()}
	g.stopping, g.stop = context.WithCancel(context.Background())
	g.Server = grpc.NewServer(
		grpc.Creds(peerCredentials{}),
		grpc.ConnectionTimeout(c.HeaderTimeout), // until the client's settings are there
		grpc.MaxHeaderListSize(maxHeader),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		// Fixed: what is sent and not read yet is memory too.
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: c.IdleTimeout,
			// A caller that does not read its replies, and so no ping, is let go in the end.
			Time: time.Minute, Timeout: c.BodyTimeout + c.RequestTimeout,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.InTapHandle(g.begin),
		grpc.ChainUnaryInterceptor(g.unary),
		grpc.ChainStreamInterceptor(g.stream),
		grpc.UnknownServiceHandler(unknown),
	)
	pb.RegisterSignerServer(g.counting(), signer{service: c.Service})
	pb.RegisterKeysetsServer(g.counting(), keysets{service: c.Service})
	pb.RegisterAdminServer(g.counting(), admin{service: c.Service})
	// SERVING says that the door is open, as /healthz does. Whether keysets can sign is in
	// Keysets.List, and at /readyz.
	healthpb.RegisterHealthServer(g, g.health)
	for name := range g.GetServiceInfo() {
		g.health.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
	reflection.Register(g)
	return g
}

// shutdown waits for the requests under way until ctx ends, and then cuts them off.
func (g *language) shutdown(ctx context.Context) error {
	g.health.Shutdown() // watchers are told
	g.stop()
	drained := make(chan struct{})
	go func() {
		g.GracefulStop()
		close(drained)
	}()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		g.Stop()
		<-drained
		return ctx.Err()
	}
}

// begin is asked about each request when its header is there. The request's message has
// from then on as long as a body over HTTP has; it ends with what it may take in all.
func (g *language) begin(ctx context.Context, info *tap.Info) (context.Context, error) {
	c, err := connOf(ctx)
	if err != nil {
		return ctx, err
	}
	if ok, first := c.streams.begin(time.Now()); !ok {
		if first {
			g.config.Metrics.refused.WithLabelValues(abandoner).Inc()
		}
		c.Close()
		return ctx, status.Error(codes.Unavailable, "the connection began more requests than it waited for")
	}
	m := methods[info.FullMethodName]
	if _, known := g.config.Service.Identity(c.caller); m.operation != "" && m.operation != signing.OpWhoAmI && !known {
		// Over HTTP it would be refused before its body is read.
		c.streams.answered()
		return ctx, g.refuse(ctx, c, m.operation, &v1.Error{
			Reason: v1.NotGranted, Detail: fmt.Sprintf("uid %d is not granted anything; add it under callers:", c.caller.UID),
		})
	}
	return g.arrive(ctx, c, info.FullMethodName)
}

// refuse refuses a request whose message was not read.
func (g *language) refuse(ctx context.Context, c *conn, operation policy.Operation, why *v1.Error) error {
	e := told(g.config.Logger, operation, g.config.Service.Refuse(ctx, c.caller, operation, "", why))
	g.config.Metrics.answered(overGRPC, operation, e)
	return statusOf(e).Err()
}

// unary answers one request: what route and perform are for HTTP.
func (g *language) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (reply any, err error) {
	operation := methods[info.FullMethod].operation
	reply, err = g.perform(ctx, operation, func(ctx context.Context) (any, error) {
		if operation != "" { // one of ours
			if e := g.strict(ctx, operation, req); e != nil {
				return nil, e
			}
		}
		return handler(ctx, req)
	})
	if operation == "" {
		return reply, err
	}
	e := told(g.config.Logger, operation, err)
	g.config.Metrics.answered(overGRPC, operation, e)
	if e != nil {
		return nil, statusOf(e).Err()
	}
	return reply, nil
}

// strict refuses a message with fields that this version does not know: one that limits what
// is asked for must not be overlooked.
func (g *language) strict(ctx context.Context, operation policy.Operation, req any) error {
	message, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	if batch, ok := req.(*pb.BatchRequest); ok && len(batch.GetItems()) > signing.MaxBatch {
		return nil // it is refused for their number, and none of them is looked at
	}
	field, number, found := unknownField(message.ProtoReflect(), "")
	if !found {
		return nil
	}
	caller, err := grpcCaller(ctx)
	if err != nil {
		return err
	}
	keyset := ""
	if named, ok := req.(interface{ GetKeyset() string }); ok {
		keyset = named.GetKeyset()
	}
	if operation != signing.OpWhoAmI {
		if err := g.config.Service.Admit(ctx, caller, operation, keyset); err != nil {
			return err
		}
	}
	return g.config.Service.Refuse(ctx, caller, operation, keyset, unknownFieldError(field, number))
}

// stream is for health and reflection, and for methods that there are not; ours get a message and
// are unary from then on.
func (g *language) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if methods[info.FullMethod].operation != "" {
		return handler(srv, ss)
	}
	if info.FullMethod == healthpb.Health_Watch_FullMethodName {
		ss = watch{ss, g}
	}
	_, err := g.perform(ss.Context(), "", func(context.Context) (any, error) { return nil, handler(srv, ss) })
	if e, ok := errors.AsType[*v1.Error](err); ok {
		return statusOf(e).Err()
	}
	return err
}

// perform gives do its time, turns a panic in it into an error, and counts the request as
// answered unless its caller went away.
func (g *language) perform(ctx context.Context, operation policy.Operation, do func(context.Context) (any, error)) (reply any, err error) {
	c, err := connOf(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil {
			g.config.Logger.Error("panic in a request", "operation", operation, "panic", p, "stack", string(debug.Stack()))
			reply, err = nil, internal()
		}
		if !errors.Is(ctx.Err(), context.Canceled) {
			c.streams.answered()
		}
	}()
	if operation == "" {
		return do(ctx)
	}
	timed, cancel := context.WithTimeout(ctx, g.config.RequestTimeout)
	defer cancel()
	return do(timed)
}

// unknown answers for methods that there are not.
func unknown(_ any, ss grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(ss)
	return status.Errorf(codes.Unimplemented, "there is no method %q; reflection lists those there are", signing.Clip(method))
}

// told makes sure that what a caller is told is a *v1.Error, in either language.
func told(log *slog.Logger, operation policy.Operation, err error) *v1.Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*v1.Error](err); ok {
		return e
	}
	log.Error("a request failed in the door", "operation", operation, "error", err)
	return internal()
}

func internal() *v1.Error {
	return &v1.Error{Reason: v1.Internal, Detail: "a fault of keysetd's own; its log has more"}
}
