package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator/supervisor"
)

func newConsole() *cobra.Command {
	var t target
	var seconds uint32
	cmd := &cobra.Command{
		Use:   "console (INSTANCE | ENCLAVE-ID | NAME | --enclave-id ID | --enclave-name NAME)",
		Short: "Show the console of an instance or a debug enclave, and what it prints further",
		Long: `console shows what an instance or a debug enclave has printed lately, 64 KiB at
most, and goes on as it prints more, until it ends. Ctrl-C ends the view, nothing
else. The flags are those of nitro-cli.

Into a terminal it writes no control characters but line ends and tabs: they come
from the guest. Into a pipe or a file it writes what the guest wrote.`,
		Args: func(cmd *cobra.Command, args []string) error {
			named := len(args)
			for _, flag := range []string{"enclave-id", "enclave-name"} {
				if cmd.Flags().Changed(flag) {
					named++
				}
			}
			if named != 1 {
				return fmt.Errorf("%s named; allowed is one, by an id or a name or a flag", count(named, "guest"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if seconds > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
				defer cancel()
			}
			find := t.find
			if len(args) == 1 {
				find = func(ctx context.Context) (supervisor.Running, error) { return resolveOne(ctx, args[0]) }
			}
			err := followConsole(ctx, cmd, find)
			if errors.Is(err, context.DeadlineExceeded) {
				return nil
			}
			return err
		},
	}
	t.add(cmd)
	numberFlag(cmd, &seconds, "disconnect-timeout", "stop after this many `SECONDS` (default: when the guest ends)", 0, math.MaxInt32)
	return cmd
}

func followConsole(ctx context.Context, cmd *cobra.Command, find func(context.Context) (supervisor.Running, error)) error {
	r, err := find(ctx)
	if err != nil {
		return err
	}
	err = r.Console(ctx, consoleWriter(cmd.OutOrStdout()), true)
	if errors.Is(err, supervisor.ErrGone) {
		return nil
	}
	return err
}
