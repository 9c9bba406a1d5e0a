package vhostuser

import "testing"

// TestKinds checks the table against the bounds the transport reads with.
func TestKinds(t *testing.T) {
	for r, k := range kinds {
		if int(r) >= len(names) || names[r] == "" {
			t.Errorf("%v: no name; add it to names", r)
		}
		if k.min > k.max || k.max > maxPayload {
			t.Errorf("%v: payload of %d to %d bytes, at most %d are read", r, k.min, k.max, maxPayload)
		}
		if k.fds > maxFDs {
			t.Errorf("%v: %d descriptors, at most %d are received", r, k.fds, maxFDs)
		}
		if k.handle == nil {
			t.Errorf("%v: no handler", r)
		}
	}
	for r, want := range map[request]string{
		1: "GET_FEATURES", 18: "SET_VRING_ENABLE", 25: "SET_CONFIG", 43: "CHECK_DEVICE_STATE",
		0: "request 0", 44: "request 44", 0xffffffff: "request 4294967295",
	} {
		if got := r.String(); got != want {
			t.Errorf("request %d is called %q, want %q", uint32(r), got, want)
		}
	}
}
