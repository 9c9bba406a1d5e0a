package instance

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/guest/instance/control"
)

func TestMissing(t *testing.T) {
	const ne, accel = "1d0f:e4c1", "1d0f:ac00"
	list := []control.Device{{BDF: "0000:01:00.0", ID: ne, Driver: "nitro_enclaves"}, {BDF: "0000:02:00.0", ID: accel}, {BDF: "0000:03:00.0", ID: accel, Driver: "vfio-pci"}}
	present := control.PCIPresent(0x1d0f, 0xac00)
	tests := []struct {
		name  string
		want  []string
		vsock bool
		miss  []string
	}{
		{"nothing", nil, false, nil},
		{"all", []string{ne, control.Vsock, accel}, true, nil},
		{"no vsock", []string{ne, control.Vsock}, false, []string{control.Vsock}},
		{"no driver for the second", []string{accel, accel}, false, []string{accel}},
		{"second needs none", []string{present, accel}, false, nil},
		{"same in the other order", []string{accel, present}, false, nil},
		{"third", []string{accel, present, present}, false, []string{present}},
		{"twice", []string{ne, ne}, false, []string{ne}},
		{"other", []string{"1af4:1041"}, false, []string{"1af4:1041"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.miss, missingOf(tt.want, list, func() bool { return tt.vsock })); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
		})
	}
}

// Devices that come while the guest waits are seen at the event, not at the tick.
func TestDevicesCome(t *testing.T) {
	m := newFakeMachine()
	want := []control.Device{{BDF: "0000:01:00.0", ID: "1d0f:e4c1", Driver: "nitro_enclaves"}}
	m.looked = func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.pci == nil {
			m.pci, m.vsock = want, true
			m.events <- struct{}{}
		}
	}
	a := quietAgent(t, m)
	a.tick = time.Hour
	got, err := a.Devices(within(t), []string{"1d0f:e4c1", control.Vsock})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"events", "pci", "pci", "stop events"}, m.done()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// A driver that binds without an event is seen at the next tick.
func TestDevicesComeWithoutEvent(t *testing.T) {
	m := newFakeMachine()
	looks := 0
	m.looked = func() {
		if looks++; looks == 2 {
			m.set(func() { m.vsock = true })
		}
	}
	if _, err := quietAgent(t, m).Devices(within(t), []string{control.Vsock}); err != nil {
		t.Error(err)
	}
}

func TestDevicesDoNotCome(t *testing.T) {
	m := newFakeMachine()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := quietAgent(t, m).Devices(ctx, []string{"1d0f:e4c1", control.Vsock})
	var missing *control.Error
	if !errors.As(err, &missing) || missing.Code != control.Missing {
		t.Fatalf("error %v", err)
	}
	if diff := cmp.Diff([]string{"1d0f:e4c1", control.Vsock}, missing.Missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	for _, call := range []string{"events", "pci"} {
		m.fail = map[string]error{call: unix.EIO}
		if _, err := quietAgent(t, m).Devices(within(t), nil); !errors.Is(err, unix.EIO) {
			t.Errorf("%s: error %v", call, err)
		}
	}
}
