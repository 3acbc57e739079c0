package signing

import (
	"testing"
	"time"
)

// How long to wait is rounded up, in the text as in the number.
func TestRateLimitedSaysWhen(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		999800433 * time.Nanosecond: "1s", 1: "1ms", 0: "1ms", time.Second + 1: "1.001s", 250 * time.Millisecond: "250ms",
	} {
		e := rateLimited("svc", wait)
		if d, err := time.ParseDuration(want); err != nil || e.(interface{ Error() string }).Error() != "rate_limited: caller svc asks for more than the rate it is granted; ask again in "+want || asError(e).RetryAfterMillis != d.Milliseconds() {
			t.Errorf("%v: %v, %v", wait, e, err)
		}
	}
}
