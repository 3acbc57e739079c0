//go:build race

package rotation_test

// slowdown is how many times longer the race detector makes the long tests, which do that much less.
const slowdown = 5
