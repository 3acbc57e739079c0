package door

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
)

// window is how much of a stream, and of a connection, a client may send before it is read:
// the least that grpc-go takes, in bytes.
const window = 64 << 10

// places are what the requests over gRPC take that have not been answered.
type places struct {
	bodies  *budget // bytes, shared with HTTP
	begun   *budget // requests whose message is not there; each may have a window in memory
	visits  *budget // streams of health and reflection
	strange *budget // the same, and requests, of callers who are granted nothing
	watches *budget // watches of the health service, once their message is there
}

func newPlaces(bodies *budget) places {
	return places{
		bodies:  bodies,
		begun:   newBudget("requests that have not arrived in whole", 2048, 512),
		visits:  newBudget("streams of health and reflection", 64, 8),
		strange: newBudget("streams of callers who are granted nothing", 64, 8),
		watches: newBudget("watches of health", 2048, 128),
	}
}

// errLate is why a request ends whose message did not arrive in time.
var errLate = errors.New("the message did not arrive in time")

// arrival is the context of a request over gRPC: it has a time for its message to arrive,
// which nothing stretches, and then another.
type arrival struct {
	context.Context
	timer *time.Timer
	after time.Duration // from when the message is there
	place *hold
	visit bool // of somebody who may not take from what signing needs
	leave func()
}

type arrivalKey struct{}

// Value implements context.Context.
func (a *arrival) Value(key any) any {
	if key == (arrivalKey{}) {
		return a
	}
	return a.Context.Value(key)
}

// Err implements context.Context.
func (a *arrival) Err() error {
	err := a.Context.Err()
	if err != nil && context.Cause(a.Context) == errLate { // as if it were one deadline, known from the start
		return context.DeadlineExceeded
	}
	return err
}

// arrive lets a request in whose header is there, or refuses it.
func (g *language) arrive(ctx context.Context, c *conn, name string) (context.Context, error) {
	m := methods[name]
	a := &arrival{after: g.config.BodyTimeout + g.config.RequestTimeout} // perform's time ends sooner, so that it can be told
	first, places := g.config.BodyTimeout, g.places.begun
	switch {
	case m.act:
		a.after = g.config.BodyTimeout + actTimeout
	case name == healthpb.Health_Watch_FullMethodName:
		places, a.after = g.places.visits, g.config.WatchTimeout
	case m.operation == "":
		places, first = g.places.visits, g.config.VisitTimeout
	}
	if _, known := g.config.Service.Identity(c.caller); !known {
		places = g.places.strange
	}
	a.visit = places != g.places.begun
	a.place = places.hold(identity(g.config.Service, c.caller))
	if refused := a.place.more(1); refused != nil {
		c.streams.answered()
		if m.operation == "" {
			return ctx, statusOf(refused).Err()
		}
		return ctx, g.refuse(ctx, c, m.operation, refused)
	}
	ended, cancel := context.WithCancelCause(ctx)
	a.Context = ended
	a.timer = time.AfterFunc(first, func() { cancel(errLate) })
	finish := func() {}
	unhook := func() bool { return true }
	if m.operation == "" { // stays no longer than the door does, and keeps no connection from being idle
		unhook = context.AfterFunc(g.stopping, func() { cancel(context.Canceled) })
	} else {
		finish = c.activity.begin()
	}
	a.leave = sync.OnceFunc(func() {
		unhook()
		a.timer.Stop()
		a.place.free()
		finish()
	})
	context.AfterFunc(ended, a.leave)
	return a, nil
}

// arrived is called when the message is there.
func (a *arrival) arrived() {
	if a.timer.Stop() {
		a.timer.Reset(a.after)
	}
	a.place.free()
}

// counting registers services so that a message is counted before it is read.
func (g *language) counting() grpc.ServiceRegistrar { return registrar{g} }

type registrar struct{ g *language }

// RegisterService implements grpc.ServiceRegistrar. To grpc-go each method is a stream, whose
// message is read when we say so; on the wire there is no difference.
func (r registrar) RegisterService(d *grpc.ServiceDesc, impl any) {
	counted := *d
	counted.Methods = nil
	for _, m := range d.Methods {
		counted.Streams = append(counted.Streams, grpc.StreamDesc{StreamName: m.MethodName, Handler: func(srv any, ss grpc.ServerStream) error {
			return r.g.answer(m, srv, ss)
		}})
	}
	r.g.RegisterService(&counted, impl)
}

// answer reads the message of a request and performs it.
func (g *language) answer(m grpc.MethodDesc, srv any, ss grpc.ServerStream) error {
	c, err := connOf(ss.Context())
	if err != nil {
		return err
	}
	taken := g.places.bodies.hold(identity(g.config.Service, c.caller))
	defer taken.free()
	reply, err := m.Handler(srv, ss.Context(), func(into any) error { return g.receive(ss, c, taken, into) }, g.unary)
	if err != nil {
		return err
	}
	return ss.SendMsg(reply)
}

// receive reads the message when there is room for the longest that it could be: until it is there,
// nobody knows. Until then it has no more than its window.
func (g *language) receive(ss grpc.ServerStream, c *conn, taken *hold, into any) error {
	a, ok := ss.Context().Value(arrivalKey{}).(*arrival)
	if !ok {
		return errNoCaller
	}
	name, _ := grpc.MethodFromServerStream(ss)
	operation := methods[name].operation
	if !a.visit {
		soon, cancel := context.WithTimeout(ss.Context(), g.config.BodyTimeout/2) // so that it can be told
		defer cancel()
		if refused := taken.wait(soon, maxMessage); refused != nil {
			c.streams.answered()
			return g.refuse(ss.Context(), c, operation, refused)
		}
	}
	if err := ss.RecvMsg(into); err != nil {
		return g.unread(ss.Context(), c, operation, err)
	}
	a.arrived()
	if message, ok := into.(proto.Message); ok {
		taken.keep(int64(proto.Size(message)))
	}
	return nil
}

// watch is a stream that takes a place among the watches when its one message is there.
type watch struct {
	grpc.ServerStream
	g *language
}

// RecvMsg implements grpc.ServerStream.
func (w watch) RecvMsg(into any) error {
	if err := w.ServerStream.RecvMsg(into); err != nil {
		return err
	}
	a, ok := w.Context().Value(arrivalKey{}).(*arrival)
	if !ok {
		return errNoCaller
	}
	place := w.g.places.watches.hold(a.place.id)
	if refused := place.more(1); refused != nil {
		return refused
	}
	context.AfterFunc(a, place.free)
	a.arrived()
	return nil
}
