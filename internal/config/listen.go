package config

import (
	"io/fs"
	"net"
	"net/url"
	"strconv"
	"strings"

	"keysetd.example/signing/door"
)

// Listen is where requests come in.
type Listen struct {
	// Socket is the path of the local Unix socket, at most 107 bytes (unix(7)). Left out:
	// /run/keysetd/keysetd.sock.
	Socket string `yaml:"socket"`
	// SocketMode is the file mode of the socket, octal in quotes. It decides who can
	// connect; what they may do, callers decides. Left out: "0660".
	SocketMode fs.FileMode `yaml:"socket_mode"`
	// SocketGroup owns the socket. Left out: the daemon's own group.
	SocketGroup string `yaml:"socket_group"`
	// Public is HOST:PORT of the pages for everybody (JWKS, certificates, health), or off,
	// which is "" after Parse. Port 0 takes a free one. Left out: 127.0.0.1:8080.
	Public string `yaml:"public"`
	// Metrics is HOST:PORT of the metrics, or off, which is "" after Parse. Left out:
	// 127.0.0.1:9090.
	Metrics string `yaml:"metrics"`
	// StatusPlan has the status page, which is beside the metrics, show what will happen to each keyset
	// and when. Left out: false.
	StatusPlan bool `yaml:"status_plan"`
}

func (l *Listen) setDefaults() {
	*l = Listen{
		Socket:     "/run/keysetd/keysetd.sock",
		SocketMode: 0o660,
		Public:     "127.0.0.1:8080",
		Metrics:    "127.0.0.1:9090",
	}
}

func (l *Listen) check(src *source) error {
	at := root.join("listen")
	if strings.HasPrefix(l.Socket, "@") {
		return src.fail(at.join("socket"), "must be a path; abstract sockets are open to every local user")
	}
	l.Socket = src.abs(l.Socket)
	if len(l.Socket) > door.MaxPath {
		return src.fail(at.join("socket"), "is %d bytes long as an absolute path; a socket's path has at most %d", len(l.Socket), door.MaxPath)
	}
	for _, f := range []struct {
		name string
		addr *string
	}{{"public", &l.Public}, {"metrics", &l.Metrics}} {
		if *f.addr == "off" {
			*f.addr = ""
			continue
		}
		host, port, err := net.SplitHostPort(*f.addr)
		if _, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || host == "" || strings.ContainsAny(host, " /\t") {
			return src.fail(at.join(f.name), "must be HOST:PORT, as in 127.0.0.1:8080 or 0.0.0.0:8080 for every interface, or off")
		}
	}
	if _, port, err := net.SplitHostPort(l.Public); err == nil && l.Public == l.Metrics && port != "0" {
		return src.fail(at.join("metrics"), "is the address of public; give each one of its own")
	}
	return nil
}

func (c *Config) checkPublicURL(src *source) error {
	if c.PublicURL == "" {
		return nil
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(c.PublicURL, "#") {
		return src.fail(root.join("public_url"), "must be an http or https URL without user, query and fragment, as in https://keys.example")
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	return nil
}
