package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/nitrolab/nitrolab/guest/vsockproxy"
)

const usage = `usage: vsock-proxy [OPTIONS] <local_port> <remote_addr> <remote_port>

Carries connections from a vsock port of this parent instance to a TCP service.

  <local_port>    vsock port to listen on, at CID 3
  <remote_addr>   name or address of the service
  <remote_port>   TCP port of the service

  -4, --ipv4              IPv4 addresses only
  -6, --ipv6              IPv6 addresses only
  -w, --num_workers N     connections at once (default 4)
      --config FILE       allowlist (default ` + vsockproxy.AllowlistPath + `)
  -h, --help
`

var errHelp = errors.New("help requested")

// options are a command line.
type options struct {
	localPort uint32
	remote    vsockproxy.Endpoint
	family    vsockproxy.Family
	workers   int
	config    string
}

func parse(args []string) (options, error) {
	var o options
	flags := pflag.NewFlagSet("vsock-proxy", pflag.ContinueOnError)
	flags.Usage = func() {}
	ipv4 := flags.BoolP("ipv4", "4", false, "")
	ipv6 := flags.BoolP("ipv6", "6", false, "")
	workers := flags.StringP("num_workers", "w", strconv.Itoa(vsockproxy.DefaultWorkers), "")
	flags.StringVar(&o.config, "config", vsockproxy.AllowlistPath, "")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return o, errHelp
		}
		return o, err
	}
	if n := flags.NArg(); n != 3 {
		return o, fmt.Errorf("%d arguments; needed are <local_port> <remote_addr> <remote_port>", n)
	}
	switch {
	case *ipv4 && *ipv6:
		return o, errors.New("--ipv4 cannot be used with --ipv6")
	case *ipv4:
		o.family = vsockproxy.IPv4
	case *ipv6:
		o.family = vsockproxy.IPv6
	}
	port, err := number("local port", flags.Arg(0), 0, math.MaxUint32-1) // the largest is VMADDR_PORT_ANY
	if err != nil {
		return o, err
	}
	o.localPort = uint32(port)
	o.remote.Host = flags.Arg(1)
	if port, err = number("remote port", flags.Arg(2), 1, math.MaxUint16); err != nil {
		return o, err
	}
	o.remote.Port = uint16(port)
	n, err := number("number of workers", *workers, 1, vsockproxy.MaxWorkers)
	o.workers = int(n)
	return o, err
}

func number(field, text string, low, high uint64) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%s is %q; allowed are %d to %d", field, text, low, high)
	}
	return n, nil
}
