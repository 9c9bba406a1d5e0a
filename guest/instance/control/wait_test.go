package control

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The guest says nothing until it is asked.
func TestGuestIsSilent(t *testing.T) {
	a, b := net.Pipe()
	serve(t, b, &fake{})
	defer a.Close()
	a.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := a.Read(make([]byte, 1)); n > 0 || !errors.Is(err, context.DeadlineExceeded) && err == nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// A Host that gave up begins anew, as a restored one does: what it asked before is
// cancelled, and a late answer is not taken for another.
func TestGivesUp(t *testing.T) {
	f := &fake{block: true, entered: make(chan struct{}, 1), ready: goodReady}
	c := connect(t, f)
	ctx, cancel := context.WithCancel(within(t))
	done := make(chan error, 1)
	go func() {
		_, err := c.Devices(ctx, Vsock)
		done <- err
	}()
	<-f.entered
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	f.set(func() { f.block = false })
	if _, err := c.Resume(within(t), goodResume()); err != nil {
		t.Errorf("after giving up: %v", err)
	}
	want := []string{"devices vsock", "cancelled"}
	if diff := cmp.Diff(want, f.calls[:2]); diff != "" {
		t.Errorf("before the second request the first was not ended (-want +got):\n%s", diff)
	}
	// A context that is over already changes nothing either.
	if err := c.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := c.Ping(within(t)); err != nil {
		t.Error(err)
	}
}

// A context that ends just when the answer comes does not hit the next call.
func TestCancelRace(t *testing.T) {
	c := connect(t, &fake{})
	for range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		_ = c.Ping(ctx)
		if err := c.Ping(within(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// A new conversation is understood although the last line of the one before was cut
// off.
func TestAfterHalfLine(t *testing.T) {
	a, b := net.Pipe()
	serve(t, b, &fake{})
	if _, err := io.WriteString(a, `{"v":1,"id":3,"pi`); err != nil {
		t.Fatal(err)
	}
	c := NewClient(a)
	defer c.Close()
	if err := c.Ping(within(t)); err != nil {
		t.Error(err)
	}
}

// The guest's own timeout is before that of the Host, which so learns what is
// missing.
func TestDevicesTimeout(t *testing.T) {
	c := connect(t, deviceless{})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := c.Devices(ctx, Vsock)
	var got *Error
	if !errors.As(err, &got) || got.Code != Missing || !cmp.Equal(got.Missing, []string{Vsock}) {
		t.Errorf("error %v, want missing vsock", err)
	}
}
