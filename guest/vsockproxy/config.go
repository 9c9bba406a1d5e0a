package vsockproxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Limits.
const (
	DefaultWorkers = 4
	MaxWorkers     = 4096

	// lookupTimeout and connectTimeout bound what comes before data flows.
	lookupTimeout  = 10 * time.Second
	connectTimeout = 10 * time.Second

	// maxAddresses is how many addresses of a name are tried.
	maxAddresses = 8
)

// A Config says where connections go. Remote is required.
type Config struct {
	Remote Endpoint
	Family Family // of the addresses of Remote

	// Workers is how many connections are carried at once; the next ones wait in
	// the listener. 0 means DefaultWorkers.
	Workers int

	// Resolve finds addresses; nil means the resolver of this machine.
	Resolve Resolver

	// Dial opens a TCP connection; nil means [net.Dialer.DialContext].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Log receives connections and what goes wrong with them; nil discards it.
	Log *slog.Logger
}

func (c *Config) complete() error {
	switch {
	case c.Remote.Host == "" || len(c.Remote.Host) > maxHost:
		return fmt.Errorf("remote host is %q; allowed are names and addresses of up to %d characters", c.Remote.Host, maxHost)
	case c.Remote.Port == 0:
		return fmt.Errorf("remote port is 0; allowed are 1 to 65535")
	case c.Workers < 0 || c.Workers > MaxWorkers:
		return fmt.Errorf("number of workers is %d; allowed are 1 to %d", c.Workers, MaxWorkers)
	case c.Family < Any || c.Family > IPv6:
		return fmt.Errorf("family is %v; allowed are Any, IPv4 and IPv6", c.Family)
	}
	if c.Workers == 0 {
		c.Workers = DefaultWorkers
	}
	if c.Resolve == nil {
		c.Resolve = net.DefaultResolver.LookupNetIP
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}
