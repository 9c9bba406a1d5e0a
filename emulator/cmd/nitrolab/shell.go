package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/guestagent"
	"github.com/nitrolab/nitrolab/emulator/supervisor"
)

type shellFlags struct {
	tools   toolFlags
	command string
	enclave bool
}

func newShell() *cobra.Command {
	var f shellFlags
	cmd := &cobra.Command{
		Use:   "shell [INSTANCE | ENCLAVE-ID | NAME]",
		Short: "A shell in a parent instance, in which nitro-cli starts enclaves (make shell)",
		Long: `shell, or make shell, launches a parent instance and gives a shell in it, where
nitro-cli starts enclaves. ` + sampleInInstance + `
is an image to begin with. The instance and its enclaves end with the shell.

With INSTANCE, which is an id, the beginning of one or a name, it is a shell in
that one. With ENCLAVE-ID or NAME it is one in an enclave of run-enclave, if its
image has nitrolab's agent (nitrolab eif sample --shell makes one). With --enclave
it is one in a debug enclave that ends with it.

Input that is not from a terminal is run as a script. The exit code is that of
the shell or the command.`,
		Example: `  nitrolab shell
  nitrolab shell -c 'nitro-cli describe-eif --eif-path ` + sampleInInstance + `'
  nitrolab shell web < script.sh`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return fmt.Errorf("arguments are %q; allowed is one id or name, and a command behind -c in quotes", args)
			case len(args) == 1 && f.enclave:
				return fmt.Errorf("argument is %q; with --enclave there is none", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			switch {
			case len(args) == 1:
				return f.into(ctx, args[0])
			case f.enclave:
				return f.inNewEnclave(ctx)
			}
			return f.inNewInstance(ctx)
		},
	}
	f.tools.add(cmd)
	cmd.Flags().StringVarP(&f.command, "command", "c", "", "run this `COMMAND` instead of a shell")
	cmd.Flags().BoolVar(&f.enclave, "enclave", false, "a shell in a new debug enclave instead, with the nsm command")
	return cmd
}

// into opens a shell in what runs already.
func (f *shellFlags) into(ctx context.Context, word string) error {
	r, err := resolveOne(ctx, word)
	if err != nil {
		return err
	}
	client, err := connectAgent(ctx, r)
	if err != nil {
		return err
	}
	defer client.Close()
	err = f.run(ctx, client)
	if errors.Is(err, guestagent.ErrLost) {
		return fmt.Errorf("%s ended before its shell: %w", &r.Description, err)
	}
	return err
}

// inNewInstance launches an instance for one shell. It is a session: it ends with
// this process, however that ends, and other commands find it meanwhile.
func (f *shellFlags) inNewInstance(ctx context.Context) (err error) {
	p, err := findPlaces()
	if err != nil {
		return err
	}
	o := supervisor.Order{
		Instance: &emulator.InstanceConfig{}, Accel: f.tools.accel, QEMU: f.tools.qemu, ArtifactsDir: p.artifacts,
	}
	tell := newPrinter(os.Stderr)
	s, err := supervisor.Start(ctx, o, func(text string) {
		if f.interactive() || forScripts(text) {
			tell.line("%s", text)
		}
	})
	if err != nil {
		return err
	}
	defer func() {
		if guest := s.Close(); guest != nil {
			err = guest // why it is gone; what we met is a consequence
		}
	}()
	client, err := connectAgent(ctx, s.Running)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := allocate(ctx, client, os.Stderr); err != nil {
		return err
	}
	if f.interactive() {
		tell.shellHints(s.Instance.Info)
	}
	err = f.run(ctx, client)
	if errors.Is(err, guestagent.ErrLost) {
		return fmt.Errorf("%s ended before its shell: %w", &s.Description, err)
	}
	return err
}

// interactive reports whether a person is at the shell.
func (f *shellFlags) interactive() bool { return f.command == "" && isTerminal(os.Stdin) }

// forScripts reports whether a line of progress is one that a script's standard
// error should have: a warning, or why nothing happens for a minute.
func forScripts(line string) bool {
	for _, begin := range []string{"warning: ", "error: ", "tool chain "} {
		if strings.HasPrefix(line, begin) {
			return true
		}
	}
	return false
}

// shellHints say where one is and what to type.
func (p *printer) shellHints(i emulator.InstanceInfo) {
	p.line("instance %s: %s, %d CPUs, %d MiB; %s start, its agent answered after %.2f s", i.InstanceID, i.InstanceType, i.CPUs, i.MemoryMiB, warmth(i), i.Answered.Seconds())
	p.line("Try:  nitro-cli run-enclave --eif-path %s --memory %d --cpu-count %d", sampleInInstance, sampleMemoryMiB, sampleCPUs)
	p.line("      nitro-cli describe-enclaves")
	p.line("      nitro-cli terminate-enclave --all")
	p.line("From another terminal: nitrolab ps, nitrolab cp FILE %s:", i.InstanceID)
	p.line("The instance and its enclaves end with this shell.")
}

// run gives our streams to the guest; the exit status of the shell becomes ours.
func (f *shellFlags) run(ctx context.Context, client *guestagent.Client) error {
	var err error
	if f.command != "" {
		err = client.Run(ctx, f.command, guestagent.Streams{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
	} else {
		err = client.Shell(ctx, os.Stdin, os.Stdout, os.Stderr)
	}
	var exit *guestagent.ExitError
	switch {
	case errors.As(err, &exit) && exit.Signal == "":
		return &exitError{code: exit.Status}
	case errors.As(err, &exit):
		return &exitError{code: exit.Status, msg: "the command in the guest was ended by signal " + exit.Signal}
	}
	return err
}
