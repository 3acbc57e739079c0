package hsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"keysetd.example/hsm/wire"
)

// Config describes one token.
type Config struct {
	// Name of the token in the configuration, for logs, metrics and the PIN marker. Needed.
	Name string
	// Command of the worker and its arguments. Left out, this program itself:
	// {"/proc/self/exe", "token"}, which stays the same file when the binary is replaced.
	Command []string
	// Launch starts a worker instead of Command. Left out, Command is run.
	Launch func(context.Context) (Worker, error)
	// Open names the module and the token in it. Needed: Module (unless Launch is given), and
	// Label or Serial.
	Open wire.OpenRequest
	// Environment for the worker beyond what it inherits (PATH, HOME, and the names that known
	// modules read, such as SOFTHSM2_CONF). Left out, nothing is added.
	Environment map[string]string
	// Sessions that sign and decrypt at the same time. Left out (0), 8.
	Sessions int
	// Queue is how many calls may wait for a session. With so many, one more is refused at once with
	// ErrOverloaded, unless whoever it is for (WithShare) has at least two fewer waiting than another, of
	// which then the newest is refused. Left out (0), 1024.
	Queue int
	// Limits of operations. Left out, each is its default.
	Limits Limits
	// Unkillable is how many workers may be left behind that were killed and do not end, because
	// they hang in the kernel. With so many no further one is started until one ends. Left out (0), 3.
	Unkillable int
	// Accept are the labels of keys that are used although their attributes break the rules for private
	// keys (CheckAttributes). Left out, none: keys are examined when an epoch first uses them.
	Accept []string
	// Verify says which signatures are verified before they are released. Left out, VerifyRSA. The
	// first of each key in each way in an epoch is always verified.
	Verify VerifyMode

	// PIN returns the user's PIN, read afresh for each login; what it returns is zeroed. Needed.
	PIN func(context.Context) ([]byte, error)
	// PINSource identifies where the PIN comes from as it is now, and is another string
	// once the PIN may have changed; it tells nothing of the PIN. FilePINSource makes one. Left
	// out, a login that was cut off blocks until RetryPIN even where the PIN was right before.
	PINSource func() (string, error)
	// Marker keeps a wrong PIN from being tried twice. Left out, that holds only within this
	// Token's life.
	Marker *PINMarker

	// Serial returns the serial number remembered for this token, or "" if none is yet. A token
	// with another is never logged in to. Left out, any serial number will do.
	Serial func() string
	// RememberSerial makes a serial number the one that Serial returns, whatever it was: that of the
	// first login that succeeded while Serial returned "", and one that AcceptSerial was told of. Left
	// out, nothing is remembered.
	RememberSerial func(serial string) error

	// Logger for what happens to the token. Left out, slog.DiscardHandler's.
	Logger *slog.Logger
	// Metrics that get this token's series. Left out, nobody sees them.
	Metrics *Metrics
	// OnChange is called after the token came up or went down, after a key was refused, and after a way
	// of signing or decrypting with a key turned out to be unsupported. It must not block. Left out, nobody is told.
	OnChange func()
}

// complete returns c with its defaults, or what is wrong with it.
func (c Config) complete() (Config, error) {
	if c.Name == "" {
		return c, errors.New("a token needs a name")
	}
	wrong := func(format string, args ...any) (Config, error) {
		return c, fmt.Errorf("token %s: "+format, append([]any{c.Name}, args...)...)
	}
	switch {
	case c.Launch == nil && c.Open.Module == "":
		return wrong("no PKCS#11 module is named")
	case c.Open.Label == "" && c.Open.Serial == "":
		return wrong("neither a label nor a serial number is given")
	case c.PIN == nil:
		return wrong("there is no source for the PIN")
	case c.Sessions < 0 || c.Sessions > 1<<12:
		return wrong("%d sessions: give 1 to 4096, or none for 8", c.Sessions)
	case c.Queue < 0:
		return wrong("a queue of %d: give 1 or more, or none for 1024", c.Queue)
	case c.Unkillable < 0:
		return wrong("%d workers that may be left behind: give 1 or more, or none for 3", c.Unkillable)
	}
	limits, err := c.Limits.complete()
	if err != nil {
		return wrong("%w", err)
	}
	c.Limits = limits
	if c.Unkillable == 0 {
		c.Unkillable = 3
	}
	if c.Verify == "" {
		c.Verify = VerifyRSA
	}
	if err := c.Verify.check(); err != nil {
		return wrong("%w", err)
	}
	if c.Sessions == 0 {
		c.Sessions = 8
	}
	if c.Queue == 0 {
		c.Queue = 1024
	}
	if c.PINSource == nil {
		c.PINSource = func() (string, error) { return "", nil }
	}
	if c.Marker == nil {
		c.Marker = new(PINMarker)
	}
	if c.Serial == nil {
		c.Serial = func() string { return "" }
		c.RememberSerial = nil
	}
	if c.RememberSerial == nil {
		c.RememberSerial = func(string) error { return nil }
	}
	return c.quiet(), nil
}

// quiet fills in those that only report, and how a worker is started.
func (c Config) quiet() Config {
	if len(c.Command) == 0 {
		c.Command = []string{"/proc/self/exe", "token"}
	}
	if c.Launch == nil {
		c.Launch = c.startProcess
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("token", c.Name)
	if c.Metrics == nil {
		c.Metrics = NewMetrics()
	}
	if c.OnChange == nil {
		c.OnChange = func() {}
	}
	return c
}
