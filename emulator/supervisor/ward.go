package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/forward"
)

// A ward is a guest that runs, with what its supervisor has to know and does for
// it.
type ward struct {
	Guest
	path     string // at which the Description is
	describe func() Description
	dial     dialer
	close    func() // ends what is around the guest, not the guest, which goes with the Host
}

// A dialer connects to a port of a guest. It has its own limit of time.
type dialer func(ctx context.Context, port uint32) (net.Conn, error)

// dialTimeout bounds the connection to a guest, before scaling. It takes
// milliseconds; a guest that hangs never answers.
const dialTimeout = 15 * time.Second

// within is dial with a limit.
func (dial dialer) within(limit time.Duration, guest string) dialer {
	return func(ctx context.Context, port uint32) (net.Conn, error) {
		bounded, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		c, err := dial(bounded, port)
		if err != nil && bounded.Err() != nil && ctx.Err() == nil && !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("the %s did not answer on vsock port %d within %v", guest, port, limit)
		}
		return c, err
	}
}

// begin starts the guest that was ordered, and returns when it runs.
func (o *Order) begin(ctx context.Context, host Host, c *claims) (*ward, error) {
	if o.Instance != nil {
		return beginInstance(ctx, host, c, *o.Instance)
	}
	return beginEnclave(ctx, host, c, *o.Enclave, o.Forwards)
}

// beginEnclave returns when the enclave has sent its heartbeat.
func beginEnclave(ctx context.Context, host Host, c *claims, cfg emulator.EnclaveConfig, forwards []string) (_ *ward, err error) {
	specs, err := parseForwards(forwards)
	if err != nil {
		return nil, err
	}
	if cfg.CID, err = c.cid(cfg.CID); err != nil {
		return nil, err
	}
	if cfg.Name, err = c.nextName(cmp.Or(cfg.Name, emulator.DefaultName(cfg.EIFPath))); err != nil {
		return nil, err
	}
	parent := newParent(host)
	set, err := listenForwards(parent, specs)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			set.close()
		}
	}()
	proxy, err := proxyKMS(host, specs)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = proxy.Close()
		}
	}()
	cfg.Remove = set.paths()
	e, err := host.StartEnclave(ctx, cfg)
	if err != nil {
		return nil, err
	}
	parent.enclave = e
	set.start(host.Log())
	if err := e.WaitRunning(ctx); err != nil {
		return nil, err
	}
	parent.ran()
	return &ward{
		Guest: e,
		path:  pathEnclave,
		describe: func() Description {
			d := describeEnclave(e.Info())
			d.RootPEM = string(host.RootPEM())
			d.EIFPath = cfg.EIFPath
			d.Forwards = set.describe()
			d.KMSEnv = host.KMSEnv()
			return d
		},
		dial:  parent.Dial,
		close: func() { set.close(); _ = proxy.Close() },
	}, nil
}

// proxyKMS does for an enclave without a parent instance what vsock-proxy does in
// one, unless a forward has taken its port.
func proxyKMS(host Host, specs []forward.Spec) (io.Closer, error) {
	for _, s := range specs {
		if s.Listen.Network == "vsock" && s.Listen.Port == ports.KMSProxy {
			return io.NopCloser(nil), nil
		}
	}
	return host.ProxyKMS()
}

// beginInstance returns when the agent of the instance answers.
func beginInstance(ctx context.Context, host Host, c *claims, cfg emulator.InstanceConfig) (*ward, error) {
	if cfg.Name != "" { // else it is the id, which nobody else has
		if err := c.exactName(cfg.Name); err != nil {
			return nil, err
		}
	}
	i, err := host.Launch(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &ward{
		Guest: i,
		path:  pathInstance,
		describe: func() Description {
			d := describeInstance(i)
			d.RootPEM = string(host.RootPEM())
			d.KMSEnv = host.KMSEnv()
			return d
		},
		dial:  dialer(i.Dial).within(host.Timeout(dialTimeout), "instance"),
		close: func() {},
	}, nil
}
