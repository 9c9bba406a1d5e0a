//go:build !race

package scm

// Sending is called before a message is sent by a system call of the caller's own.
func Sending() {}

func received() {}
