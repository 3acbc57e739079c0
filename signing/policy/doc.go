// Package policy decides whether a caller may do what it asks for. The decision is a
// function of the rules, the caller as the kernel tells it, and the request; what no rule
// grants is refused. Only rates have a memory, see Verdict.Reserve.
//
// A rule is one grant and is judged whole: it covers a request when its user or group, its
// keysets, its operations, its algorithms, its typ values, client ids and audiences and its
// expression all do. Several rules for one caller add up as grants; they do not lend each
// other parts.
//
// # What peer credentials mean
//
// A caller is known by what the kernel notes of a process when it calls connect(2) on the
// socket: its effective uid and gid and its pid (SO_PEERCRED, unix(7)), and its
// supplementary groups (SO_PEERGROUPS). They are fixed from then on: a process that changes
// its user, or hands the connection to another (SCM_RIGHTS, fork), is known as the one that
// connected. They tell users apart and not programs: every process of a user has that
// user's rights, and so has who may become it (root, sudo, setuid programs).
//
// User namespaces: uids and gids are shown as they are in the daemon's user namespace. Where
// a container has a namespace of its own, its uid 0 is the subordinate uid it is mapped to
// (/proc/PID/uid_map, subuid(5)), and that is what a rule must name. A container without one
// (the default of Docker) has the host's uids: its uid 0 is the host's root to this package,
// and two containers that run as uid 1000 are one caller. A uid or gid with no mapping into the
// daemon's namespace is shown as the overflow uid or gid (user_namespaces(7)). It stands for
// anybody, and is granted nothing.
//
// So credentials tell services apart where each has a uid of its own in the daemon's user
// namespace: units of systemd with User= or DynamicUser=, containers that are each mapped to a
// range of their own. They mean little where containers share a range or run as one uid, where
// the socket is mounted into a container whose administrator chooses uids freely in a range
// that rules name, and where a proxy forwards connections: all are the proxy then. They mean
// nothing across hosts. A pid is for logs: it may have passed to another process, or be 0
// because it lives in a PID namespace that the daemon does not see; no rule names one, though
// an expression can read it.
//
// # Whom a rate belongs to
//
// A rule's rate, and its share of the token (Verdict.Owner), are the rule's. A rule for a group has one of
// each for all of its members: one person may own many uids (subuid(5)), and would otherwise have as many.
//
// # What an expression sees of a number
//
// JSON has one kind of number, CEL several. One that is whole is an int, however it is written: 1, 1.0
// and 1e3. One that has a fraction is a double; there is no uint and no NaN. Comparisons go across
// the two, sums do not: claims.x - now fails where x is 1.5.
//
// Verifiers mostly read doubles, so a token that says 9007199254740993 (2^53 + 1) is one of ...992 to them. Where
// the claims or the header have, at any depth, a number that a double does not hold, or one that is whole and
// no int64, no expression looks at them, and the rule does not grant: see number. Such ids are given as strings.
//
// Values of different types are unequal, and has() holds for null. So an expression should say what must be
// (claims.admin == false) and not what must not be: claims.admin != true is satisfied by "true" and 1.
package policy
