package control

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The longest of everything fits in a line.
func TestLongestResume(t *testing.T) {
	r := Resume{
		Seed: bytes.Repeat([]byte{0xff}, MaxSeed), Time: math.MaxInt64, CABundle: pemOf("CERTIFICATE", MaxCABundle),
		Identity: Identity{InstanceID: strings.Repeat("i", maxName), Hostname: strings.Repeat("h", 63), Region: strings.Repeat("r", maxName),
			AvailabilityZone: strings.Repeat("z", maxName), InstanceType: strings.Repeat("t", maxName), ImageID: strings.Repeat("m", maxName), AccountID: strings.Repeat("1", maxName)},
	}
	var got Resume
	f := &fake{ready: goodReady, resumed: func(r *Resume) { got = *r }}
	if _, err := connect(t, f).Resume(within(t), r); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got); diff != "" {
		t.Errorf("what the guest got (-want +got):\n%s", diff)
	}
}

func TestInvalid(t *testing.T) {
	change := func(f func(*Resume)) *request {
		r := goodResume()
		f(&r)
		return &request{Resume: &r}
	}
	devices := func(timeout int64, want ...string) *request {
		return &request{Devices: &DevicesRequest{Want: want, TimeoutMs: timeout}}
	}
	tests := []struct {
		name string
		req  *request
	}{
		{"no seed", change(func(r *Resume) { r.Seed = nil })},
		{"short seed", change(func(r *Resume) { r.Seed = make([]byte, MinSeed-1) })},
		{"long seed", change(func(r *Resume) { r.Seed = make([]byte, MaxSeed+1) })},
		{"no time", change(func(r *Resume) { r.Time = 0 })},
		{"time before the epoch", change(func(r *Resume) { r.Time = -1 })},
		{"no instance", change(func(r *Resume) { r.InstanceID = "" })},
		{"instance with a quote", change(func(r *Resume) { r.InstanceID = `i-"` })},
		{"no host name", change(func(r *Resume) { r.Hostname = "" })},
		{"host name with a line feed", change(func(r *Resume) { r.Hostname = "a\nb" })},
		{"host name with an empty label", change(func(r *Resume) { r.Hostname = "a..b" })},
		{"long host name", change(func(r *Resume) { r.Hostname = strings.Repeat("a", 65) })},
		{"label that ends in a hyphen", change(func(r *Resume) { r.Hostname = "a-" })},
		{"region with a space", change(func(r *Resume) { r.Region = "us east" })},
		{"long bundle", change(func(r *Resume) { r.CABundle = pemOf("CERTIFICATE", MaxCABundle+1) })},
		{"bundle without a certificate", change(func(r *Resume) { r.CABundle = []byte("certificate") })},
		{"bundle with a private key", change(func(r *Resume) { r.CABundle = append(pemOf("CERTIFICATE", 100), pemOf("EC PRIVATE KEY", 100)...) })},
		{"device", devices(1, "1d0f")},
		{"device in capitals", devices(1, "1D0F:E4C1")},
		{"too many devices", devices(1, make([]string, MaxWants+1)...)},
		{"negative timeout", devices(-1, Vsock)},
		{"long timeout", devices(MaxDevicesTimeout.Milliseconds()+1, Vsock)},
	}
	f := &fake{ready: goodReady}
	c := connect(t, f)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := c.call(within(t), tt.req)
			var got *Error
			if !errors.As(err, &got) || got.Code != Invalid {
				t.Errorf("guest: %v, want invalid", err)
			}
			if r := tt.req.Resume; r != nil {
				if _, err := c.Resume(within(t), *r); !errors.As(err, &got) || got.Code != Invalid {
					t.Errorf("client: %v, want invalid", err)
				}
			}
		})
	}
	if len(f.calls) != 0 {
		t.Errorf("the guest did %q", f.calls)
	}
}
