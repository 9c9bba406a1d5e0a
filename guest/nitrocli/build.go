package nitrocli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/guest/nitrocli/args"
	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/eif"
)

// Files of the blobs directory, which AWS's package installs.
const (
	blobKernel  = "bzImage"
	blobInit    = "init"
	blobNSM     = "nsm.ko"
	blobCmdline = "cmdline"
)

// maxBlob bounds init and nsm.ko, which are held in memory.
const maxBlob = 256 << 20

func (e *Env) buildEnclave(ctx context.Context, v args.Values) error {
	fmt.Fprintln(e.Stderr, "Start building the Enclave Image...")
	output, _ := v.Get("output-file")
	spec, err := e.buildSpec(v)
	if err != nil {
		return failure.During("Failed to build EIF from docker", err)
	}
	result, err := bundle.Build(ctx, output, spec)
	if err != nil {
		return failure.During("Failed to build EIF from docker", failure.Wrap(failure.EIFBuildingError, err))
	}
	for _, w := range result.Warnings {
		fmt.Fprintf(e.Stderr, "warning: %s\n", w)
	}
	fmt.Fprintln(e.Stderr, "Enclave Image successfully created.")
	return e.printJSON(result)
}

// buildSpec gathers what a build needs, in nitro-cli's order (build_from_docker in
// lib.rs), so that what is missing in several ways is reported alike.
func (e *Env) buildSpec(v args.Values) (bundle.Spec, error) {
	spec := bundle.Spec{Arch: eif.X86_64, Tool: program, ToolVersion: Version, BuildTime: e.Now()}
	blobs := e.env(BlobsVariable, defaultBlobs)
	cmdline, err := readBlob(blobs, blobCmdline, eif.MaxKernelCmdline+1)
	if err != nil {
		return spec, failure.Wrap(failure.FileOperationFailure, err, filepath.Join(blobs, blobCmdline), "Open")
	}
	spec.Cmdline = strings.TrimSpace(string(cmdline))
	output, _ := v.Get("output-file")
	if err := writable(output); err != nil {
		return spec, failure.Wrap(failure.FileOperationFailure, err, output, "Open")
	}
	if spec.TempDir, err = e.artifactsDir(); err != nil {
		return spec, err
	}
	spec.Kernel.Image = filepath.Join(blobs, blobKernel)
	if _, err := os.Stat(spec.Kernel.Image); err != nil {
		return spec, failure.Wrap(failure.EIFBuildingError, fmt.Errorf("kernel: %w", err))
	}
	if spec.Bootstrap.Records, err = bootstrapRecords(blobs); err != nil {
		return spec, failure.Wrap(failure.EIFBuildingError, err)
	}
	if path, ok := v.Get("metadata"); ok {
		if spec.CustomMetadata, err = readMetadata(path); err != nil {
			return spec, failure.Wrap(failure.EIFBuildingError, err)
		}
	}
	if spec.Signer, err = signer(v); err != nil {
		return spec, failure.Wrap(failure.EIFBuildingError, err)
	}
	if epoch, ok := e.LookupEnv(sourceDateVariable); ok {
		if spec.BuildTime, err = eif.ParseSourceDateEpoch(epoch); err != nil {
			return spec, failure.Wrap(failure.EIFBuildingError, err)
		}
	}
	spec.Name, _ = v.Get("name")
	spec.Version, _ = v.Get("version")
	uri, _ := v.Get("docker-uri")
	dir, hasDir := v.Get("docker-dir")
	if spec.App, err = findApp(uri, dir, hasDir); err != nil {
		return spec, err
	}
	if hasDir && spec.Name == "" {
		spec.Name, _, _ = strings.Cut(uri, ":") // as nitro-cli does
	}
	return spec, nil
}

// bootstrapRecords are the files of nitro-cli's first ramdisk.
func bootstrapRecords(blobs string) ([]cpio.Record, error) {
	init, err := readBlob(blobs, blobInit, maxBlob)
	if err != nil {
		return nil, err
	}
	nsm, err := readBlob(blobs, blobNSM, maxBlob)
	if err != nil {
		return nil, err
	}
	return []cpio.Record{
		cpio.StaticRecord(init, cpio.Info{Name: blobInit, Mode: cpio.S_IFREG | 0o755}),
		cpio.StaticRecord(nsm, cpio.Info{Name: blobNSM, Mode: cpio.S_IFREG | 0o644}),
	}, nil
}

// readBlob reads a file of the blobs directory of at most limit bytes.
func readBlob(blobs, name string, limit int64) ([]byte, error) {
	f, err := os.Open(filepath.Join(blobs, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", f.Name(), limit)
	}
	return b, err
}

// readMetadata reads the user's own metadata; bundle checks its form.
func readMetadata(path string) (json.RawMessage, error) {
	b, err := readBlob("", path, eif.MaxCustomMetadata)
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	return b, nil
}

// artifactsDir is where temporary files of a build go.
func (e *Env) artifactsDir() (string, error) {
	dir, ok := e.LookupEnv(ArtifactsVariable)
	if !ok {
		home, ok := e.LookupEnv("HOME")
		if !ok {
			return "", failure.New(failure.ArtifactsPathNotSet, "neither %s nor HOME is set", ArtifactsVariable)
		}
		dir = filepath.Join(home, ".nitro_cli")
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", failure.Wrap(failure.FileOperationFailure, err, dir, "Create")
	}
	return dir, nil
}

// writable reports, before the work, whether a file could be written. nitro-cli
// leaves an empty one behind if a build fails; this one changes nothing.
func writable(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	switch {
	case err == nil:
		return f.Close()
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(path))
}
