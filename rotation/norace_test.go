//go:build !race

package rotation_test

// slowdown is how many times longer the race detector makes the long tests.
const slowdown = 1
