package hsm

import (
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// stuck are the workers that were killed and do not end: they are in a system call that cannot be
// interrupted, such as a driver's. Each holds memory, and maybe the device.
type stuck struct {
	mu   sync.Mutex
	pids []int
}

func (s *stuck) add(pid int, g prometheus.Gauge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pids = append(s.pids, pid)
	g.Set(float64(len(s.pids)))
}

func (s *stuck) remove(pid int, g prometheus.Gauge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.pids, pid); i >= 0 {
		s.pids = slices.Delete(s.pids, i, i+1)
	}
	g.Set(float64(len(s.pids)))
}

// check is an error once there are as many as bound.
func (s *stuck) check(bound int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pids) < bound {
		return nil
	}
	return fmt.Errorf("%d workers were killed and do not end (pids %v): they hang in the kernel, and no further one is started; look at the HSM's driver and its network, or restart the machine",
		len(s.pids), s.pids)
}

// abandon counts a worker that was killed and does not end, until it does.
func (t *Token) abandon(w Worker) {
	t.cfg.Logger.Error("a worker was killed and does not end", "worker", w.PID())
	t.stuck.add(w.PID(), t.metrics.unkillable)
	go func() {
		select {
		case <-w.Exited():
		case <-t.ctx.Done():
			return
		}
		t.stuck.remove(w.PID(), t.metrics.unkillable)
		t.cfg.Logger.Info("a worker that did not end has ended", "worker", w.PID())
		t.rouse()
	}()
}
