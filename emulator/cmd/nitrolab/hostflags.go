package main

import (
	"errors"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator/supervisor"
)

// hostFlags are the flags of every command that starts something on this machine's
// Host.
type hostFlags struct {
	tools    toolFlags
	role     string
	awsNames bool

	kmsStore  string
	kmsListen string
}

func (f *hostFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Func("role", "`ARN` of the parent's IAM role, the source of PCR3", func(text string) error {
		if !roleARN.MatchString(text) {
			return errors.New("allowed is the form arn:aws:iam::123456789012:role/name")
		}
		f.role = text
		return nil
	})
	flags.BoolVar(&f.awsNames, "aws-names", false, "give certificates AWS's exact subject names (they still do not chain to AWS's root)")
	flags.StringVar(&f.kmsStore, "kms-store", "", "keep keys and policies of the key service in `FILE` (default: in memory)")
	flags.Func("kms-listen", "offer the key service to this machine at a loopback `ADDRESS`, such as 127.0.0.1:0", func(text string) error {
		if err := checkLoopback(text); err != nil {
			return err
		}
		f.kmsListen = text
		return nil
	})
	f.tools.add(cmd)
}

// roleARN is the form of a role's name; what comes behind role/ may have a path.
var roleARN = regexp.MustCompile(`^arn:[a-z-]+:iam::[0-9]{12}:role/.+$`)

// into writes what the flags say into an order.
func (f *hostFlags) into(o *supervisor.Order) {
	o.Role, o.Names = f.role, namesFlag(f.awsNames)
	o.Accel, o.QEMU = f.tools.accel, f.tools.qemu
	o.KMSStore, o.KMSListen = f.kmsStore, f.kmsListen
}
