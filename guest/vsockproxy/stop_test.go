package vsockproxy_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitrolab/nitrolab/guest/vsockproxy"
)

// Told to end, the proxy resets what it carries and leaves nothing; also while it
// waits for a worker, a resolver, or a service.
func TestStop(t *testing.T) {
	hang := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	tests := map[string]vsockproxy.Config{
		"carrying": {Workers: 1},
		"resolving": {Workers: 1, Resolve: func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
			return nil, hang(ctx)
		}},
		"connecting": {Workers: 1, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return nil, hang(ctx)
		}},
	}
	for name, cfg := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, cfg)
				enclave := w.listener.connect(t)
				synctest.Wait()
				begin := time.Now()
				w.stop(t)
				wantRead(t, enclave, syscall.ECONNRESET)
				if took := time.Since(begin); took != 0 {
					t.Errorf("took %v", took)
				}
				if log := w.log.String(); strings.Contains(log, "WARN") || strings.Contains(log, "broke") {
					t.Errorf("an ordered end is no trouble:\n%s", log)
				}
			})
		})
	}
	t.Run("idle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, vsockproxy.Config{})
			synctest.Wait()
			w.stop(t)
			select {
			case <-w.listener.closed:
			default:
				t.Error("the listener is open")
			}
		})
	})
}

func TestListenerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, vsockproxy.Config{})
		enclave := w.listener.connect(t)
		synctest.Wait()
		broken := errors.New("no more files")
		w.listener.failed <- broken
		if err := <-w.served; !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "accept: ") {
			t.Errorf("Serve = %v", err)
		}
		wantRead(t, enclave, syscall.ECONNRESET)
		<-w.listener.closed
		w.cancel()
	})
}
