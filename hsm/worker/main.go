package worker

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/harden"
)

// socketFD is where the daemon passes its socket: the first of exec.Cmd.ExtraFiles.
const socketFD = 3

// Main is the hidden command `token`: it serves hsm/wire on the socket that the process
// inherited as descriptor 3, until the daemon's end is closed, and returns the exit
// code. The caller passes it to os.Exit at once, which ends the process even when a call
// into the module hangs.
//
// What goes wrong with the token is answered on the socket. Standard error has only what
// cannot be: that there is no socket, that the process cannot be hardened, that what
// came is no frame.
func Main() int {
	// Its life is the socket's. A signal to the whole group, such as Ctrl-C or systemd's,
	// is the daemon's to answer, which still needs the worker to finish its requests.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "keysetd token:", err)
		return 1
	}
	return 0
}

func run() error {
	if err := harden.Process(); err != nil {
		return err
	}
	conn, err := inherited(socketFD)
	if err != nil {
		return err
	}
	return wire.Serve(conn, &backend{})
}

func inherited(fd uintptr) (net.Conn, error) {
	f := os.NewFile(fd, "socket")
	defer f.Close() // FileConn makes a descriptor of its own
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d is not a socket: this command is run by keysetd, not by hand: %w", fd, err)
	}
	return conn, nil
}
