package rotation

import "time"

// manual takes one rotation by hand out of the allowance, and returns what is left of it; or
// false, and the next instant at which there will be one.
//
// It is the generic cell rate algorithm (ITU-T I.371 §A): one instant says all. Allowance is
// when the bucket will be full again; it may lie ahead by what a burst takes to refill.
func (d Document) manual(policy Policy, now time.Time) (allowance, next time.Time, ok bool) {
	interval := 24 * time.Hour / time.Duration(policy.ManualPerDay)
	full := latest(now, d.Allowance)
	if most := now.Add(time.Duration(policy.ManualBurst) * interval); full.After(most) {
		full = most // the clock was set back, or the limit is another one now
	}
	if next := full.Add(-time.Duration(policy.ManualBurst-1) * interval); now.Before(next) {
		return d.Allowance, next, false
	}
	return full.Add(interval), time.Time{}, true
}
