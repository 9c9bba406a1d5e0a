package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/guestagent"
	"github.com/nitrolab/nitrolab/emulator/supervisor"
	"github.com/nitrolab/nitrolab/images/instance"
)

type launchFlags struct {
	host        hostFlags
	config      emulator.InstanceConfig
	files       []string
	noAllocator bool
	json        bool
}

func newLaunch() *cobra.Command {
	var f launchFlags
	cmd := &cobra.Command{
		Use:   "launch",
		Short: "Start a parent instance, in which nitro-cli starts enclaves",
		Long: `launch starts a parent instance and returns when its agent answers. The instance
goes on until nitrolab terminate or until it powers itself off; a process of its
own looks after it.

The instance is a virtual machine with a distribution's kernel, whose unmodified
nitro_enclaves driver finds the Nitro Enclaves device. nitro-cli is in it, and
` + sampleInInstance + `
to begin with. CPUs and memory are set aside for enclaves as
/etc/nitro_enclaves/allocator.yaml says.

Its metadata service (IMDSv2) is at 169.254.169.254, with credentials if --role
names a role, and a key service at kms.REGION.amazonaws.com, to which
vsock-proxy carries enclaves. It has no other network. --kms-listen offers the
key service to this machine too, where keys are made with the AWS CLI or an SDK.

The first launch of a shape (type, CPUs, memory) boots and keeps a snapshot in the
cache; later ones restore it, with an identity, a clock and randomness of their
own. --cold boots.`,
		Example: `  nitrolab launch --name web
  nitrolab launch --cpus 8 --memory 4G --file app.eif:/srv/app.eif
  nitrolab shell web -c 'nitro-cli run-enclave --eif-path /srv/app.eif --memory 512 --cpu-count 2'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	c := &f.config
	flags := cmd.Flags()
	flags.Func("name", "a `NAME` of your own, which commands take in place of the id", func(text string) error {
		if !instanceName.MatchString(text) {
			return errors.New("allowed are letters, digits, and inside also . _ -")
		}
		c.Name = text
		return nil
	})
	flags.StringVar(&c.Type, "instance-type", "", "the `TYPE` that the instance says it is, such as c6a.2xlarge (default m5.xlarge)")
	numberFlag(cmd, &c.CPUs, "cpus", "`NUMBER` of CPUs, two to a core if it is even (default 4)", 2, emulator.MaxInstanceCPUs)
	flags.Func("memory", "memory in `MIB`, or with M or G behind (default 1024); that of enclaves is taken from it", func(text string) (err error) {
		c.MemoryMiB, err = parseMiB(text, emulator.MinInstanceMemoryMiB, emulator.MaxInstanceMemoryMiB)
		return err
	})
	flags.BoolVar(&c.Cold, "cold", false, "boot, and leave snapshots alone")
	flags.StringArrayVar(&f.files, "file", nil, "copy a file into the instance, `LOCAL:GUEST`; may be repeated")
	flags.BoolVar(&f.noAllocator, "no-allocator", false, "leave all CPUs and memory with the instance until nitro-enclaves-allocator is run in it")
	f.host.add(cmd)
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

// instanceName keeps names apart from INSTANCE:PATH, and from flags.
var instanceName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,253}[A-Za-z0-9])?$`)

// order says what is wrong with the flags before anything is started.
func (f *launchFlags) order() (supervisor.Order, []localFile, error) {
	check := f.config
	check.Image = &instance.Image{} // not yet
	if err := check.Check(); err != nil {
		return supervisor.Order{}, nil, usageError{err}
	}
	files, err := parseFiles(f.files)
	if err != nil {
		return supervisor.Order{}, nil, err
	}
	o := supervisor.Order{Instance: &f.config}
	f.host.into(&o)
	return o, files, nil
}

func (f *launchFlags) run(cmd *cobra.Command) error {
	began := time.Now()
	ctx := cmd.Context()
	o, files, err := f.order()
	if err != nil {
		return err
	}
	p, err := findPlaces()
	if err != nil {
		return err
	}
	o.ArtifactsDir = p.artifacts
	progress := newPrinter(cmd.ErrOrStderr())
	s, err := supervisor.Start(ctx, o, func(text string) { progress.line("%s", text) })
	if err != nil {
		return err
	}
	if err := f.furnish(ctx, s, files, cmd.ErrOrStderr()); err != nil {
		return sessionError(err, s.Close())
	}
	if err := s.Release(); err != nil {
		return err
	}
	return f.print(cmd.OutOrStdout(), s.Instance, s.KMSEnv, time.Since(began))
}

// furnish copies files into a new instance and sets resources for enclaves aside.
func (f *launchFlags) furnish(ctx context.Context, s *supervisor.Session, files []localFile, warnings io.Writer) error {
	if len(files) == 0 && f.noAllocator {
		return nil
	}
	client, err := connectAgent(ctx, s.Running)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, file := range files {
		if err := file.put(ctx, client); err != nil {
			return err
		}
	}
	if f.noAllocator {
		return nil
	}
	return allocate(ctx, client, warnings)
}

// allocate does the work of the service of this name, which on EC2 the user has
// started at boot. If it cannot, the instance is still one: with 2 CPUs, for
// example, it has none to give.
func allocate(ctx context.Context, client *guestagent.Client, warnings io.Writer) error {
	_, err := client.Output(ctx, "nitro-enclaves-allocator")
	var exit *guestagent.ExitError
	if errors.As(err, &exit) {
		fmt.Fprintf(warnings, "warning: nothing is set aside for enclaves: nitro-enclaves-allocator: %s\n", printableLine(exit.Stderr))
		return nil
	}
	return err
}

// sessionError is the error of a session, which makes little sense without that of
// its guest, if there is one.
func sessionError(err, guest error) error {
	if guest != nil {
		return guest
	}
	return err
}

// launchInfo is what launch prints with --json.
type launchInfo struct {
	instanceInfo
	TotalSeconds float64 `json:"total_seconds"`
	KMSEnv       string  `json:"kms_env,omitempty"`
}

// print says what was launched. took is the time of the command.
func (f *launchFlags) print(w io.Writer, d *supervisor.InstanceDescription, kmsEnv string, took time.Duration) error {
	i := d.Info
	if f.json {
		return printJSON(w, launchInfo{instanceInfoOf(d), took.Seconds(), kmsEnv})
	}
	p := newPrinter(w)
	p.line("%s  %s, %d CPUs, %d MiB", p.good(i.InstanceID), i.InstanceType, i.CPUs, i.MemoryMiB)
	p.line("%s start: the agent answered after %.2f s, the command took %.2f s", warmth(i), i.Answered.Seconds(), took.Seconds())
	if kmsEnv != "" {
		p.line(". %s points clients here at its key service", quote(kmsEnv))
	}
	p.line("Next: nitrolab shell %s, nitrolab ps, nitrolab terminate %[1]s", i.Name)
	return nil
}

func warmth(i emulator.InstanceInfo) string {
	switch {
	case i.Made:
		return "first" // it made the snapshot that later ones start from
	case i.Warm:
		return "warm"
	}
	return "cold"
}
