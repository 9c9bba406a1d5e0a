package main

import (
	"strings"
	"testing"

	"github.com/nitrolab/nitrolab/devices/weaken"
)

// Each of its protections goes off alone, and no other does.
func TestAllowed(t *testing.T) {
	for _, p := range []weaken.Protection{weaken.ServiceTLS, weaken.SealedAnswer, weaken.KeyBinding} {
		s, err := allowed(p)
		if err != nil || !s.Off(p) || s != weaken.Only(p) {
			t.Errorf("%q: %v, %v", p, s, err)
		}
	}
	for _, p := range []weaken.Protection{"everything", weaken.ZeroPCR, weaken.ChannelKey, weaken.None} {
		s, err := allowed(p)
		if err == nil || s != (weaken.Set{}) || !strings.Contains(err.Error(), "allowed are") {
			t.Errorf("%q: %v, %v", p, s, err)
		}
	}
}
