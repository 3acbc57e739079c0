package hsm

import "context"

// Share says whom a signature or a decryption is for, where more are wanted than the token can make.
type Share struct {
	// Owner is one caller of the daemon's, in words of its own.
	Owner string
	// Priority is from 0 to priorityMost; what is beyond is taken for the nearer end. While both have
	// calls waiting, an owner gets twice as much of the token's time as one a priority below, and as much
	// as another of its own, however much each asks for. One with two priorities is two owners.
	Priority int
}

const (
	// priorityMost is the highest priority.
	priorityMost = 9
	// priorityUsual is that of a signature whose context names no Share.
	priorityUsual = 5
)

type shareKey struct{}

// WithShare returns a context whose signatures are for s. Without it the owner is "", the priority priorityUsual.
func WithShare(ctx context.Context, s Share) context.Context {
	return context.WithValue(ctx, shareKey{}, s)
}

func shareOf(ctx context.Context) Share {
	s, ok := ctx.Value(shareKey{}).(Share)
	if !ok {
		return Share{Priority: priorityUsual}
	}
	s.Priority = min(max(s.Priority, 0), priorityMost)
	return s
}

// stride is how far a microsecond for s moves it back behind others; see line.
func (s Share) stride() uint64 { return 1 << (priorityMost - s.Priority) }
