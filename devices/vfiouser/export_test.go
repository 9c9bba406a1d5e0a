package vfiouser

import (
	"testing"
	"time"
)

// ShortenTimeouts makes the server impatient until the end of the test, with
// connections made from now on.
func ShortenTimeouts(t *testing.T) {
	message, receive := messageTimeout, receiveTimeout
	messageTimeout, receiveTimeout = 200*time.Millisecond, 50*time.Millisecond
	t.Cleanup(func() { messageTimeout, receiveTimeout = message, receive })
}
