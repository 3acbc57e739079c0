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
	// Exe is the path of the executable when the connection was accepted (/proc/PID/exe), empty where that
	// is not known. It is for the audit log: a process chooses what it executes after connecting, so nothing
	// is decided by it and no expression sees it.
	Exe string
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
	// Signing are the keysets that can Sign at all, by their purpose; there limits on tokens and
	// Sign exclude each other. Nil: any keyset may.
	Signing []string
}

const usualOverflow = 65534

// stranger reports whether the caller may be anybody.
func (o Options) stranger(c Caller) bool { return c.UID == o.OverflowUID || c.UID == noID }

// reads reports whether the caller may Read without a rule.
func (o Options) reads(c Caller) bool { return !o.stranger(c) && (c.UID == 0 || c.UID == o.DaemonUID) }
