package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/rootfs"
)

// A Spec says what to put together.
type Spec struct {
	Arch eif.Arch
	// Kernel is what boots.
	Kernel Kernel
	// Cmdline is the kernel command line; it must suit the kernel, as [Cmdline]
	// does those of distributions.
	Cmdline string
	// Bootstrap is the first ramdisk; the zero value is nitrolab's init with the
	// modules of Kernel.
	Bootstrap Bootstrap
	// App is what the enclave runs: a [Binary], a [Directory], an [Archive] or
	// [Records].
	App App

	// Name and Version describe the image in its metadata, which is not
	// measured. Empty ones are taken from the application.
	Name    string
	Version string
	// BuildTime is in the metadata; the zero time gives the Unix epoch, so that
	// equal inputs give equal images. See [eif.ParseSourceDateEpoch].
	BuildTime time.Time
	// Tool and ToolVersion say what built the image.
	Tool        string
	ToolVersion string
	// CustomMetadata is a JSON object of the user's own, nil for none.
	CustomMetadata json.RawMessage
	// Signer signs the image; nil for an unsigned one.
	Signer *eif.Signer

	// TempDir is where large temporary files go, which have no name while they
	// are used; empty for the system's.
	TempDir string
	// Limits bound how far the application may expand.
	Limits rootfs.Limits
}

// A Result says what was built.
type Result struct {
	Measurements eif.Measurements
	// Command and Env are what the enclave runs.
	Command []string
	Env     []string
	// KernelSize and RamdiskSizes are in bytes; the bootstrap is the first ramdisk.
	KernelSize   int64
	RamdiskSizes [2]int64
	// Warnings are sentences about what the image loses or what the real Nitro
	// stack would do differently.
	Warnings []string
}

// MarshalJSON gives nitro-cli's output of build-enclave, which is
// [eif.BuildInfo].
func (r *Result) MarshalJSON() ([]byte, error) {
	return json.Marshal(eif.BuildInfo{Measurements: r.Measurements})
}

// Build writes the image to the file output, which appears whole or not at all.
func Build(ctx context.Context, output string, spec Spec) (_ *Result, err error) {
	b := &builder{spec: spec}
	defer func() { err = errors.Join(err, b.close()) }()
	return b.build(ctx, output)
}

// A builder owns the files that are open during a build.
type builder struct {
	spec     Spec
	closers  []io.Closer
	warnings []string
}

func (b *builder) close() error {
	var errs []error
	for i := len(b.closers) - 1; i >= 0; i-- {
		errs = append(errs, b.closers[i].Close())
	}
	return errors.Join(errs...)
}

func (b *builder) warn(format string, args ...any) {
	b.warnings = append(b.warnings, fmt.Sprintf(format, args...))
}

func (b *builder) build(ctx context.Context, output string) (*Result, error) {
	if b.spec.App == nil {
		return nil, errors.New("bundle: no application given")
	}
	kernel, release, err := b.kernel(ctx)
	if err != nil {
		return nil, err
	}
	bootstrap, err := b.bootstrap(ctx, release)
	if err != nil {
		return nil, err
	}
	app, err := b.spec.App.load(ctx, b)
	if err != nil {
		return nil, err
	}
	if err := checkCommand(app.tree, app.cmd, b.spec.Arch); err != nil {
		return nil, err
	}
	customer, err := customerRamdisk(app)
	if err != nil {
		return nil, err
	}
	m, err := eif.BuildFile(output, eif.Spec{
		Arch:     b.spec.Arch,
		Kernel:   withContext(ctx, kernel),
		Cmdline:  b.spec.Cmdline,
		Ramdisks: []*io.SectionReader{withContext(ctx, bootstrap), withContext(ctx, customer)},
		Metadata: b.metadata(app, release),
		Signer:   b.spec.Signer,
	})
	if err != nil {
		return nil, err
	}
	return &Result{
		Measurements: m, Command: app.cmd, Env: app.env,
		KernelSize: kernel.Size(), RamdiskSizes: [2]int64{bootstrap.Size(), customer.Size()},
		Warnings: b.warnings,
	}, nil
}

// metadata describes the image.
func (b *builder) metadata(app *application, release string) eif.Metadata {
	if release == "" {
		release = "Unknown" // nitro-cli's word
	}
	m := eif.Metadata{
		ImageName:    b.spec.Name,
		ImageVersion: b.spec.Version,
		Build: &eif.BuildMetadata{
			BuildTime:        eif.FormatBuildTime(b.spec.BuildTime),
			BuildTool:        b.spec.Tool,
			BuildToolVersion: b.spec.ToolVersion,
			OperatingSystem:  "Linux",
			KernelVersion:    release,
		},
		DockerInfo:     app.dockerInfo,
		CustomMetadata: b.spec.CustomMetadata,
	}
	if m.ImageName == "" {
		m.ImageName = app.name
	}
	if m.ImageName == "" {
		m.ImageName = path.Base(app.cmd[0])
	}
	if m.ImageVersion == "" {
		m.ImageVersion = app.version
	}
	if m.ImageVersion == "" {
		m.ImageVersion = "1.0" // nitro-cli's default tag
	}
	return m
}

// open opens a regular file for the time of the build.
func (b *builder) open(name string) (*io.SectionReader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, f)
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	return io.NewSectionReader(f, 0, fi.Size()), nil
}

// withContext makes reads fail once ctx has ended.
func withContext(ctx context.Context, r *io.SectionReader) *io.SectionReader {
	return io.NewSectionReader(contextReader{ctx, r}, 0, r.Size())
}

type contextReader struct {
	ctx context.Context
	io.ReaderAt
}

func (c contextReader) ReadAt(p []byte, off int64) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.ReaderAt.ReadAt(p, off)
}
