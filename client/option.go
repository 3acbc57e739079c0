package client

// Option is a setting for Dial.
type Option func(*Client)

const (
	defaultRetries  = 8 // over some 8 s, in which a daemon is restarted
	defaultInFlight = 2
)

// WithRetries sets how often a request that may be repeated is sent once more, at most. 0: never.
// Left out: 8, which with the pauses between them take about 8 s.
func WithRetries(most int) Option {
	return func(c *Client) { c.retries = max(most, 0) }
}

// WithInFlight sets how many requests for a keyset are under way before calls wait to be gathered.
// 0: calls are never gathered, each is a request of its own. Left out: 2, so that the daemon has
// the next one while a reply is read. More of them shorten the wait behind a slow key, and make the
// batches smaller.
func WithInFlight(most int) Option {
	return func(c *Client) { c.gather.width = max(most, 0) }
}
