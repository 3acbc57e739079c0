// Package memory is a token in memory, for tests: real keys in pure Go behind the
// protocol of hsm/wire, and faults of every kind when told. What is on it outlives its workers, as
// with an HSM.
package memory

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"

	"keysetd.example/hsm"
	"keysetd.example/hsm/wire"
)

// Token is the HSM. Its methods may be called while workers use it.
type Token struct {
	mu      sync.Mutex
	label   string
	serial  string
	pin     []byte
	wrong   int // wrong PINs since the last right one
	logins  int
	started int
	objects []*object
	lost    []*object
	faults  []*Fault
	workers []*worker // alive
	alter   func(*wire.Object)
}

// New returns a token with this label and user PIN.
func New(label, pin string) *Token {
	return &Token{label: label, serial: "0123456789abcdef", pin: []byte(pin)}
}

// Config returns what hsm.Start needs to use the token with the right PIN, and nothing else.
func (t *Token) Config() hsm.Config {
	pin := slices.Clone(t.pin)
	return hsm.Config{
		Name:   t.label,
		Launch: t.Launch,
		Open:   wire.OpenRequest{Module: "memory", Label: t.label},
		PIN:    func(context.Context) ([]byte, error) { return slices.Clone(pin), nil },
	}
}

// Launch is an hsm.Config's Launch: it starts a worker inside this process.
func (t *Token) Launch(context.Context) (hsm.Worker, error) {
	ours, theirs := net.Pipe()
	w := &worker{token: t, conn: ours, theirs: theirs, dead: make(chan struct{}), exited: make(chan struct{})}
	t.mu.Lock()
	t.started++
	t.workers = append(t.workers, w)
	t.mu.Unlock()
	go func() {
		wire.Serve(theirs, w) // its end, however it comes, is the worker's
		w.Kill()
		t.mu.Lock()
		t.workers = slices.DeleteFunc(t.workers, func(o *worker) bool { return o == w })
		t.mu.Unlock()
		close(w.exited)
	}()
	return w, nil
}

// Drop kills all workers.
func (t *Token) Drop() {
	t.mu.Lock()
	workers := slices.Clone(t.workers)
	t.mu.Unlock()
	for _, w := range workers {
		w.Kill()
	}
}

// Logins is how often a PIN was compared.
func (t *Token) Logins() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.logins
}

// Started is how many workers were started.
func (t *Token) Started() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.started
}

// SetSerial makes it another token under the same label.
func (t *Token) SetSerial(serial string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.serial = serial
}

// SetPIN changes the PIN behind everyone's back.
func (t *Token) SetPIN(pin string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pin = []byte(pin)
}

// Lose removes a key as somebody else would, and tells whether it was there.
func (t *Token) Lose(ref wire.Ref) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	gone := t.remove(ref)
	t.lost = append(t.lost, gone...)
	return len(gone) > 0
}

// Restore puts back a key that was lost, as somebody who has a backup would, and tells
// whether there was one.
func (t *Token) Restore(ref wire.Ref) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	var back []*object
	back, t.lost = split(t.lost, ref)
	t.objects = append(t.objects, back...)
	return len(back) > 0
}

// Objects are the keys that are there.
func (t *Token) Objects() []wire.Object {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list("")
}

// AlterGenerated has f change what is told of each key made from now on; nil ends it.
func (t *Token) AlterGenerated(f func(*wire.Object)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.alter = f
}

type worker struct {
	token  *Token
	conn   io.ReadWriteCloser // the daemon's end
	theirs net.Conn
	dead   chan struct{}
	kill   sync.Once
	exited chan struct{}

	sessions chan struct{} // made by Login
}

func (w *worker) Conn() io.ReadWriteCloser { return w.conn }
func (w *worker) PID() int                 { return 0 }
func (w *worker) Exited() <-chan struct{}  { return w.exited }

// Kill ends the worker, calls that hang included.
func (w *worker) Kill() {
	w.kill.Do(func() {
		close(w.dead)
		w.theirs.Close()
		w.conn.Close()
	})
}
