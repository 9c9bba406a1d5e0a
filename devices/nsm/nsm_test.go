package nsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/nsmtest"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// ask sends one request to the device.
func ask(t testing.TB, d *nsm.Device, r wire.Request) (wire.Response, error) {
	t.Helper()
	req, err := wire.AppendRequest(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	return wire.DecodeResponse(d.Handle(req))
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  nsm.Config
		want string
	}{
		{"no module id", nsm.Config{Attester: nsmtest.Unsigned{}}, "module id"},
		{"module id of 101 bytes", nsm.Config{ModuleID: strings.Repeat("x", 101), Attester: nsmtest.Unsigned{}}, "module id"},
		{"module id not UTF-8", nsm.Config{ModuleID: "\xff", Attester: nsmtest.Unsigned{}}, "module id"},
		{"no attester", nsm.Config{ModuleID: "i-0"}, "attester"},
		{"measurement of PCR16", nsm.Config{ModuleID: "i-0", Attester: nsmtest.Unsigned{}, Measurements: nsm.Measurements{16: {}}}, "PCR 16"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := nsm.New(tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one about %q", err, tt.want)
			}
		})
	}
}

// attesterFunc is an Attester for one test.
type attesterFunc func(nsm.Claims) ([]byte, error)

func (f attesterFunc) Document(c nsm.Claims) ([]byte, error) { return f(c) }

func TestAttestationClaims(t *testing.T) {
	var got nsm.Claims
	d := newDevice(t, func(c *nsm.Config) {
		c.DebugMode = true
		c.Attester = attesterFunc(func(c nsm.Claims) ([]byte, error) { got = c; return []byte("doc"), nil })
	})
	if _, err := ask(t, d, wire.LockPCR{Index: 20}); err != nil {
		t.Fatal(err)
	}
	r, err := ask(t, d, wire.Attestation{UserData: []byte{}, PublicKey: []byte("key")})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(wire.AttestationResponse{Document: []byte("doc")}, r); d != "" {
		t.Errorf("reply (-want +got):\n%s", d)
	}
	want := nsm.Claims{
		ModuleID: d.ModuleID(),
		PCRs:     map[uint16]wire.PCR{3: {4}, 4: {5}, 20: {}},
		UserData: []byte{}, PublicKey: []byte("key"),
	}
	for i := range uint16(16) {
		if _, ok := want.PCRs[i]; !ok {
			want.PCRs[i] = wire.PCR{}
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("claims (-want +got):\n%s", d)
	}
}

func TestAttesterFailure(t *testing.T) {
	var fail error
	d := newDevice(t, func(c *nsm.Config) {
		c.Attester = attesterFunc(func(nsm.Claims) ([]byte, error) { return nil, fail })
	})
	for _, tt := range []struct {
		fail error
		want wire.ErrorCode
	}{
		{io.ErrUnexpectedEOF, wire.InternalError},
		{fmt.Errorf("too much: %w", wire.InvalidArgument), wire.InvalidArgument},
	} {
		fail = tt.fail
		if r, err := ask(t, d, wire.Attestation{}); !errors.Is(err, tt.want) {
			t.Errorf("attester failed with %v: got %v, %v; want %v", tt.fail, r, err, tt.want)
		}
	}
}

func TestDocumentThatFitsNoReply(t *testing.T) {
	const around = 26 // bytes of the reply that are not the document
	size := wire.MaxResponse - around
	d := newDevice(t, func(c *nsm.Config) {
		c.Attester = attesterFunc(func(nsm.Claims) ([]byte, error) { return make([]byte, size), nil })
	})
	if _, err := ask(t, d, wire.Attestation{}); err != nil {
		t.Errorf("document of %d bytes: %v", size, err)
	}
	size++
	if r, err := ask(t, d, wire.Attestation{}); !errors.Is(err, wire.BufferTooSmall) {
		t.Errorf("document of %d bytes: %v, %v; want BufferTooSmall", size, r, err)
	}
}

func TestGetRandomIsTheEntropy(t *testing.T) {
	entropy := bytes.Repeat([]byte("0123456789abcdef"), 32) // two requests
	d := newDevice(t, func(c *nsm.Config) { c.Entropy = iotest.OneByteReader(bytes.NewReader(entropy)) })
	for i := range 2 {
		r, err := ask(t, d, wire.GetRandom{})
		if err != nil {
			t.Fatal(err)
		}
		want := wire.GetRandomResponse{Random: entropy[256*i : 256*(i+1)]}
		if d := cmp.Diff(want, r); d != "" {
			t.Errorf("request %d (-want +got):\n%s", i, d)
		}
	}
	if r, err := ask(t, d, wire.GetRandom{}); !errors.Is(err, wire.InternalError) {
		t.Errorf("entropy at its end: got %v, %v; want InternalError", r, err)
	}
	if _, err := ask(t, d, wire.DescribePCR{}); err != nil {
		t.Errorf("device after entropy failed: %v", err)
	}
}

func TestGetRandomDiffers(t *testing.T) {
	d := newDevice(t)
	seen := map[string]bool{}
	for range 16 {
		r, err := ask(t, d, wire.GetRandom{})
		if err != nil {
			t.Fatal(err)
		}
		random := string(r.(wire.GetRandomResponse).Random)
		if seen[random] {
			t.Fatal("the same 256 bytes twice")
		}
		seen[random] = true
	}
}

// Requests from many goroutines take turns: no extension is lost, and Bank may
// be read meanwhile.
func TestHandleIsSafeForConcurrentUse(t *testing.T) {
	d := newDevice(t)
	const workers, each = 4, 50
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if _, err := ask(t, d, wire.ExtendPCR{Index: 16, Data: []byte("x")}); err != nil {
					t.Error(err)
				}
				d.Bank()
			}
		})
	}
	wg.Wait()
	var want nsm.Bank
	for range workers * each {
		if _, err := want.Extend(16, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	bank := d.Bank()
	got, _, _ := bank.Describe(16)
	if v, _, _ := want.Describe(16); got != v {
		t.Errorf("PCR16 is %x, want %x", got, v)
	}
}

func TestIdentity(t *testing.T) {
	d := newDevice(t)
	if d.DeviceID() != 33 || d.NumQueues() != 1 || d.Features() != 0 || d.Config() != nil {
		t.Errorf("device %d with %d queues, features %#x and configuration %x; want 33, 1, 0 and none",
			d.DeviceID(), d.NumQueues(), d.Features(), d.Config())
	}
}
