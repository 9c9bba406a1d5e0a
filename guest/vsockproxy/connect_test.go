package vsockproxy_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/guest/vsockproxy"
)

// Each connection looks its name up, and a name that does not resolve is its own
// trouble only. Where AWS's program ends.
func TestLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{table: map[string][]string{"kms": {"192.0.2.1"}}}
		var dialed []string
		w := start(t, vsockproxy.Config{Family: vsockproxy.IPv4, Resolve: n.resolve, Dial: func(_ context.Context, network, address string) (net.Conn, error) {
			dialed = append(dialed, network+" "+address)
			ours, _ := pipe()
			return ours, nil
		}})
		for _, addrs := range [][]string{{"192.0.2.1"}, nil, {"192.0.2.2"}} {
			delete(n.table, "kms")
			if addrs != nil {
				n.table["kms"] = addrs
			}
			c := w.listener.connect(t)
			synctest.Wait()
			if addrs == nil {
				wantRead(t, c, syscall.ECONNRESET)
			}
		}
		w.stop(t)
		if diff := cmp.Diff([]string{"tcp 192.0.2.1:443", "tcp 192.0.2.2:443"}, dialed); diff != "" {
			t.Errorf("dialed (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"ip4 kms", "ip4 kms", "ip4 kms"}, n.asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
		if log := w.log.String(); !strings.Contains(log, "no such host") {
			t.Errorf("log:\n%s", log)
		}
	})
}

// All addresses are tried, IPv4 first, and one that does not answer leaves time for
// the others.
func TestAddresses(t *testing.T) {
	tests := []struct {
		name   string
		family vsockproxy.Family
		addrs  []string
		dead   map[string]bool // hangs; others not in alive refuse
		alive  string
		want   []string
	}{
		{"first", vsockproxy.Any, []string{"192.0.2.1", "192.0.2.2"}, nil, "192.0.2.1:443", []string{"192.0.2.1:443"}},
		{"second", vsockproxy.Any, []string{"192.0.2.1", "192.0.2.2"}, nil, "192.0.2.2:443", []string{"192.0.2.1:443", "192.0.2.2:443"}},
		{"IPv4 first", vsockproxy.Any, []string{"fd00::1", "fd00::2", "192.0.2.1"}, nil, "[fd00::2]:443", []string{"192.0.2.1:443", "[fd00::1]:443", "[fd00::2]:443"}},
		{"behind two dead ones", vsockproxy.Any, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, map[string]bool{"192.0.2.1:443": true, "192.0.2.2:443": true}, "192.0.2.3:443", []string{"192.0.2.1:443", "192.0.2.2:443", "192.0.2.3:443"}},
		{"IPv6 only", vsockproxy.IPv6, []string{"192.0.2.1", "fd00::1"}, nil, "[fd00::1]:443", []string{"[fd00::1]:443"}},
		{"IPv4 only", vsockproxy.IPv4, []string{"fd00::1", "::ffff:192.0.2.1"}, nil, "192.0.2.1:443", []string{"192.0.2.1:443"}},
		{"none", vsockproxy.Any, []string{"192.0.2.1", "192.0.2.2"}, map[string]bool{"192.0.2.1:443": true, "192.0.2.2:443": true}, "", []string{"192.0.2.1:443", "192.0.2.2:443"}},
		{"at most eight", vsockproxy.Any, strings.Split("192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5 192.0.2.6 192.0.2.7 192.0.2.8 192.0.2.9", " "), nil, "192.0.2.9:443",
			strings.Split("192.0.2.1:443 192.0.2.2:443 192.0.2.3:443 192.0.2.4:443 192.0.2.5:443 192.0.2.6:443 192.0.2.7:443 192.0.2.8:443", " ")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dialed []string
				w := start(t, vsockproxy.Config{
					Family:  tt.family,
					Resolve: (&names{table: map[string][]string{"kms": tt.addrs}}).resolve,
					Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
						dialed = append(dialed, address)
						switch {
						case ctx.Err() != nil:
							return nil, ctx.Err()
						case address == tt.alive:
							ours, theirs := pipe()
							go io.Copy(theirs, theirs)
							return ours, nil
						case tt.dead[address]:
							<-ctx.Done()
							return nil, ctx.Err()
						}
						return nil, syscall.ECONNREFUSED
					},
				})
				begin := time.Now()
				c := w.listener.connect(t)
				if tt.alive != "" && len(tt.want) < 8 {
					say(t, c, c, "echo")
				} else {
					wantRead(t, c, syscall.ECONNRESET)
				}
				if took := time.Since(begin); took > 10*time.Second {
					t.Errorf("took %v", took)
				}
				c.Close()
				w.stop(t)
				if diff := cmp.Diff(tt.want, dialed); diff != "" {
					t.Errorf("dialed (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A resolver that does not answer costs a connection ten seconds.
func TestLookupHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, vsockproxy.Config{Resolve: func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		begin := time.Now()
		wantRead(t, w.listener.connect(t), syscall.ECONNRESET)
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
		w.stop(t)
	})
}
