//go:build !race

package hsmtest_test

const slowness = 1
