package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
)

const usage = `usage: inferctl provision --cid CID --weights FILE
       inferctl relay --cid CID [--listen PORT]
`

// options are a command line.
type options struct {
	help    bool
	relay   bool // else provision
	cid     uint32
	weights string
	listen  uint32
}

func parse(args []string) (options, error) {
	var o options
	flags := pflag.NewFlagSet("inferctl", pflag.ContinueOnError)
	flags.Usage = func() {}
	cid := flags.String("cid", "", "")
	flags.StringVar(&o.weights, "weights", "", "")
	listen := flags.String("listen", strconv.FormatUint(uint64(ports.Inference), 10), "")
	if err := flags.Parse(args); err != nil {
		o.help = errors.Is(err, pflag.ErrHelp)
		if o.help {
			err = nil
		}
		return o, err
	}
	if flags.NArg() != 1 {
		return o, fmt.Errorf("%d commands; allowed is one, provision or relay", flags.NArg())
	}
	switch flags.Arg(0) {
	case "provision":
		if o.weights == "" {
			return o, errors.New("--weights is missing")
		}
	case "relay":
		o.relay = true
	default:
		return o, fmt.Errorf("command is %q; allowed are provision and relay", flags.Arg(0))
	}
	var err error
	if o.cid, err = number("--cid", *cid, 4); err != nil {
		return o, err
	}
	o.listen, err = number("--listen", *listen, 1)
	return o, err
}

// number reads a CID or a port. The largest 32-bit value is a wildcard.
func number(field, text string, low uint64) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n < low || n == math.MaxUint32 {
		return 0, fmt.Errorf("%s is %q; allowed are %d to %d", field, text, low, uint32(math.MaxUint32-1))
	}
	return uint32(n), nil
}
