package daemon

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notifier tells systemd how the daemon is (sd_notify(3)). Where systemd did not ask for
// it, which NOTIFY_SOCKET tells, nothing is sent.
type notifier struct {
	log    *slog.Logger
	status func() string // one line for `systemctl status`
}

func (n notifier) send(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Warn("telling systemd", "state", state, "error", err)
	}
}

// run says READY as soon as the doors answer: a token that is away must not keep the
// JWKS away, nor have systemd restart what waits for it. From then on it keeps the status line
// right and feeds the watchdog, until ctx ends.
func (n notifier) run(ctx context.Context) {
	interval := 5 * time.Second
	if watchdog, err := daemon.SdWatchdogEnabled(false); err == nil && watchdog > 0 {
		interval = min(interval, watchdog/2)
	}
	n.send(daemon.SdNotifyReady)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	said := ""
	for {
		if status := n.status(); status != said {
			n.send("STATUS=" + strings.ReplaceAll(status, "\n", " "))
			said = status
		}
		n.send(daemon.SdNotifyWatchdog)
		select {
		case <-ctx.Done():
			n.send(daemon.SdNotifyStopping)
			return
		case <-tick.C:
		}
	}
}

// reloading tells systemd that a reload goes on while do runs (Type=notify-reload,
// systemd.service(5)).
func (n notifier) reloading(do func()) {
	n.send(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
	do()
	n.send(daemon.SdNotifyReady)
}

// summary is the status line: the tokens' problems, or that there are none.
func (ts tokens) summary() string {
	var problems []string
	for _, name := range sortedKeys(ts) {
		if s := ts[name].Status(); !s.Up {
			problems = append(problems, "token "+name+": "+s.Problem)
		}
	}
	if len(problems) == 0 {
		return "signing"
	}
	return strings.Join(problems, "; ")
}
