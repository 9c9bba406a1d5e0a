package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/images/guestprog"
)

// Exit codes. A signal gives 128 and its number, as shells count.
const (
	codeFailed = 1 // a refusal or a failure
	codeUsage  = 2 // a mistake in the arguments: nothing was done
)

// exitError ends the command with a code of its own. Its message is printed
// unless it is empty, which means that the command has said all there is.
type exitError struct {
	code int
	msg  string
}

func (e *exitError) Error() string { return e.msg }

// usageError says that the arguments make no sense.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// runError is an error of a command that ran, other than those of cobra, which
// are about the arguments.
type runError struct{ error }

func (e runError) Unwrap() error { return e.error }

// markRun makes every error of every command a runError.
func markRun(cmd *cobra.Command) {
	if f := cmd.RunE; f != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if err := f(cmd, args); err != nil {
				return runError{err}
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		markRun(c)
	}
}

// signalError is the cause of a context that a signal ended.
type signalError struct{ signal syscall.Signal }

func (e signalError) Error() string { return e.signal.String() }

// untilSignal is a context that ends with the first SIGINT, SIGTERM or SIGHUP; a
// second one ends the process on the spot, after which the guards clean up. A
// signal that is ignored from the start, as by nohup, stays so.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	go func() {
		s := <-signals
		signal.Stop(signals)
		cancel(signalError{s.(syscall.Signal)})
	}()
	return ctx
}

// exitCode prints err, which cmd returned, and says what the process exits with.
func exitCode(ctx context.Context, stderr io.Writer, cmd *cobra.Command, err error) int {
	var exit *exitError
	var ran runError
	var usage usageError
	var interrupt signalError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if exit.msg != "" {
			fmt.Fprintf(stderr, "nitrolab: %s\n", exit.msg)
		}
		return exit.code
	case errors.As(context.Cause(ctx), &interrupt):
		if errors.Is(err, context.Canceled) {
			err = errors.New("interrupted")
		}
		fmt.Fprintf(stderr, "nitrolab: %s\n", emulator.Report(err))
		return 128 + int(interrupt.signal)
	case !errors.As(err, &ran), errors.As(err, &usage):
		fmt.Fprintf(stderr, "nitrolab: %v\nnitrolab: see %s --help\n", err, cmd.CommandPath())
		return codeUsage
	}
	fmt.Fprintf(stderr, "nitrolab: %s\n", emulator.Report(plain(err)))
	return codeFailed
}

// plain is err without what only the go command has to say.
func plain(err error) error {
	if errors.Is(err, guestprog.ErrUnavailable) {
		return fmt.Errorf("this nitrolab was built without the programs that run inside a guest; build it with make build, or run it inside the folder of the Go module %s or one that requires it", guestprog.Module)
	}
	return err
}

// noSubcommand refuses arguments of a command that only holds others.
func noSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("%q is no command of %s", args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err = fmt.Errorf("%w; is it %s?", err, strings.Join(near, " or "))
	}
	return err
}

// noArgs refuses arguments that are no flags.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("argument is %q; %s takes flags only", args[0], cmd.CommandPath())
}

// numberFlag is a flag that holds a number from low to high.
func numberFlag[T ~int | ~uint32](cmd *cobra.Command, into *T, name, usage string, low, high int64) {
	cmd.Flags().Func(name, usage, func(text string) error {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < low || n > high {
			return fmt.Errorf("allowed are %d to %d", low, high)
		}
		*into = T(n)
		return nil
	})
}

// orInterrupted runs f, which may take long and only reads. When ctx ends first
// f is left behind, for the end of the process.
func orInterrupted[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
