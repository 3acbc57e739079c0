// Package wire is the language between the daemon and the worker process that
// holds the PKCS#11 module.
//
// A connection carries frames in both directions:
//
//	uint32  length of what follows, big endian, at most MaxFrame
//	uint32  id: chosen by the daemon, repeated in the reply; ids in flight differ
//	uint8   op in a request, status in a reply
//	bytes   body; its form depends on op and is given beside each op
//
// A reply's body begins with its Timing (16 bytes). Requests are pipelined: replies
// come in the order in which the token finishes, not in the order asked.
//
// The first request is OpHello. It carries Version, and the worker refuses any other:
// daemon and worker are one binary, so a difference means that the file was replaced
// while the daemon ran.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Version of the protocol. It changes whenever a body does.
const Version = 2

// MaxFrame is the longest frame accepted, in bytes, header excluded. An inventory
// of some ten thousand keys fits.
const MaxFrame = 64 << 20

const headerLen = 4 + 4 + 1

// Op says what a request asks for.
type Op uint8

// The requests.
const (
	// OpHello: JSON Hello → JSON Hello. First on every connection.
	OpHello Op = 1 + iota
	// OpOpen: JSON OpenRequest → JSON TokenInfo. Loads the module and finds the token.
	OpOpen
	// OpPrepare: JSON PrepareRequest → empty. Opens the sessions; nobody is logged in yet. It is apart
	// from OpLogin so that what hangs or fails here is not taken for an attempt at the PIN.
	OpPrepare
	// OpLogin: binary LoginRequest → empty. C_Login and nothing else. The PIN is zeroed on both sides.
	OpLogin
	// OpList: JSON ListRequest → JSON []Object.
	OpList
	// OpGenerate: JSON GenerateRequest → JSON Object.
	OpGenerate
	// OpSign: binary SignRequest → the signature.
	OpSign
	// OpDecrypt: binary DecryptRequest → binary Decrypted. It is zeroed on both sides.
	OpDecrypt
	// OpDestroy: JSON Ref → JSON DestroyReply. Idempotent.
	OpDestroy
	// OpInitToken: binary InitTokenRequest → JSON TokenInfo. For SoftHSM, by dev and by tests.
	OpInitToken
	// OpMetrics: empty → Prometheus metric families, length-delimited protobuf.
	OpMetrics
	// OpClose: empty → empty, then the worker finalises the module and exits.
	OpClose
)

// String is the name of the operation in metrics, logs and errors.
func (o Op) String() string {
	names := [...]string{"", "hello", "open", "prepare", "login", "list", "generate", "sign", "decrypt", "destroy", "init-token", "metrics", "close"}
	if int(o) < len(names) && o != 0 {
		return names[o]
	}
	return fmt.Sprintf("op-%d", uint8(o))
}

// Status of a reply.
const (
	statusOK    = 0
	statusError = 1 // the body is a JSON Error
)

// ErrFrame means that the peer sent something that is no frame of this protocol.
// The connection is of no further use.
var ErrFrame = errors.New("malformed frame between daemon and worker")

type frame struct {
	id   uint32
	code uint8
	body []byte
}

// beginFrame writes a frame's header into the empty b; the body is appended to what it
// returns, and endFrame then fills in the length.
func beginFrame(b []byte, id uint32, code uint8) []byte {
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, id)
	return append(b, code)
}

func endFrame(b []byte) { binary.BigEndian.PutUint32(b, uint32(len(b)-4)) }
