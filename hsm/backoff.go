package hsm

import "time"

const (
	backoffFirst = 50 * time.Millisecond
	// backoffMost is short enough that signing is back within two seconds of the token.
	backoffMost = time.Second
	// stableAfter: an epoch that was up for this long counts as a success.
	stableAfter = time.Minute
)

// backoff is how long to wait after the given number of epochs that ended one after the other
// without a stable one between them: doubling, up to backoffMost. jitter in [0, 1) takes
// up to half of it away, so that daemons that lost the same HSM do not return together.
func backoff(failures int, jitter float64) time.Duration {
	d := backoffMost
	if failures < 10 { // beyond, the shift alone exceeds the most
		d = min(backoffFirst<<max(failures-1, 0), backoffMost)
	}
	return d - time.Duration(jitter*float64(d)/2)
}
