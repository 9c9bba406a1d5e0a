//go:build race

package scm

import "sync/atomic"

// order makes the race detector see what a socket between two goroutines of one
// process orders, as package unix does for read and write.
var order atomic.Uint64

// Sending is called before a message is sent by a system call of the caller's own.
func Sending() { order.Add(1) }

func received() { order.Load() }
