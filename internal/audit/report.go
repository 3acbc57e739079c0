package audit

import (
	"fmt"
	"time"
)

// Kind says what is wrong with a log.
type Kind string

// The kinds of faults.
const (
	// Changed: the line's bytes are not those that were chained.
	Changed Kind = "changed"
	// Missing: lines before this one are not there.
	Missing Kind = "missing"
	// Reordered: the line stands in the place of another, which follows later.
	Reordered Kind = "reordered"
	// Inserted: the line is no part of the chain, or is there twice.
	Inserted Kind = "inserted"
	// Restarted: the file begins a chain of its own, so what came before it is unknown.
	Restarted Kind = "restarted"
	// BadCheckpoint: the checkpoint in this line, or the head, does not verify.
	BadCheckpoint Kind = "bad_checkpoint"
	// UnknownKey: the checkpoint is by a key for which no trusted one vouches.
	UnknownKey Kind = "unknown_key"
	// Rewritten: the lines lead to another hash than the one that was signed.
	Rewritten Kind = "rewritten"
	// Cut: lines that the head names, and perhaps others, are missing at the end.
	Cut Kind = "cut"
	// BrokenOff: keysetd found the log changed when it started, and says so in this line.
	BrokenOff Kind = "broken_off"
	// Foreign: what this line or the one before it declares as torn is more than crashes leave.
	Foreign Kind = "foreign"
	// Unproven: a key or a head was given, and no checkpoint proves any line.
	Unproven Kind = "unproven"
)

// Fault is the first thing that is wrong with a log.
type Fault struct {
	Kind Kind   `json:"kind"`
	File string `json:"file"`
	// Line in the file, from 1.
	Line   int    `json:"line"`
	Detail string `json:"detail"`
}

func (f *Fault) Error() string { return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Kind, f.Detail) }

// Key is an audit key that signed checkpoints.
type Key struct {
	// KID is its thumbprint (RFC 7638) with SHA-256, in base64url.
	KID         string `json:"kid"`
	Checkpoints int    `json:"checkpoints"`
}

// Torn is a piece that was declared to be none of the chain's, such as a line that a crash cut short.
type Torn struct {
	File string `json:"file"`
	// Line that declares it.
	Line  int   `json:"line"`
	Bytes int64 `json:"bytes"`
}

// Span is some lines of the chain.
type Span struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Report is what Verify found out, up to the first fault.
type Report struct {
	// Files in the order in which they were read.
	Files []string `json:"files"`
	// Lines of the chain, the numbers of the first and the last, and the times of these.
	Lines int64     `json:"lines"`
	First uint64    `json:"first"`
	Last  uint64    `json:"last"`
	From  time.Time `json:"from,omitzero"`
	To    time.Time `json:"to,omitzero"`
	// Installation that the checkpoints name.
	Installation string `json:"installation,omitempty"`
	// Keys that signed checkpoints, in the order of their succession.
	Keys []Key `json:"keys"`
	// Covered is the last line that a checkpoint, or the head, proves; 0: none is.
	Covered uint64 `json:"covered"`
	// Head is the line that the head names and proves to be there; 0: none was given.
	Head uint64 `json:"head,omitzero"`
	// Torn pieces; the first thousand.
	Torn []Torn `json:"torn,omitempty"`
	// Unvouched are lines that were in the file when keysetd started, and for which neither it nor
	// an earlier checkpoint vouches, though later ones cover them; the first thousand.
	Unvouched []Span `json:"unvouched,omitempty"`
	// Declared are faults that keysetd itself noticed at its starts; the first thousand. The
	// log is read on behind them.
	Declared []Fault `json:"declared,omitempty"`
	// Fault is nil where nothing is wrong. One that was not declared comes first.
	Fault *Fault `json:"fault,omitempty"`
	// Unproven says what was not proven, in sentences.
	Unproven []string `json:"unproven,omitempty"`
}

// maxTold bounds each list of a report.
const maxTold = 1000
