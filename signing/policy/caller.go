package policy

import "math"

// Caller is a local process as the kernel tells it when its connection is accepted; see the
// package's comment for what that means.
type Caller struct {
	UID uint32
	GID uint32
	PID int32 // 0 where the process lives in a PID namespace that ours cannot see
	// Groups are the supplementary groups (SO_PEERGROUPS); the primary one may be among them.
	Groups []uint32
}

// noID is (uid_t)-1 and (gid_t)-1, which are no user and no group (POSIX chown).
const noID = math.MaxUint32

// Options are the ids that stand apart.
type Options struct {
	// OverflowUID is what the kernel reports for a user that it cannot name in this user
	// namespace (/proc/sys/kernel/overflowuid, 65534 unless changed). It stands for
	// anybody, so it is refused everything, the rights of its groups too. 0 is not a valid
	// overflow uid.
	OverflowUID uint32
	// OverflowGID is the same for groups (/proc/sys/kernel/overflowgid). No rule may name it. 0: 65534.
	OverflowGID uint32
	// DaemonUID is the daemon's own uid. It and root may Read every keyset without a rule.
	DaemonUID uint32
}

const usualOverflow = 65534

// stranger reports whether the caller may be anybody.
func (o Options) stranger(c Caller) bool { return c.UID == o.OverflowUID || c.UID == noID }

// reads reports whether the caller may Read without a rule.
func (o Options) reads(c Caller) bool { return !o.stranger(c) && (c.UID == 0 || c.UID == o.DaemonUID) }
