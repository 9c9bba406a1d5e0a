package harness

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/guestprog"
	"github.com/nitrolab/nitrolab/images/instance"
	"github.com/nitrolab/nitrolab/images/sample"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// nitroCLITimeout bounds one command in an instance, before scaling: run-enclave
// waits for the boot of an enclave.
const nitroCLITimeout = 60 * time.Second

// BuildInstance makes an image for [InstanceImage]: nitrolab's own with further
// files, by their path in the guest.
func BuildInstance(t testing.TB, files map[string]instance.File) *instance.Image {
	t.Helper()
	tools, _ := findTools(t)
	image, err := buildInstance(t.Context(), tools, cacheDir(t), files)
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	return image
}

func buildInstance(ctx context.Context, tools *toolchain.Toolchain, cache string, files map[string]instance.File) (*instance.Image, error) {
	return instance.Build(ctx, instance.Spec{
		Kernel:   instance.Kernel{Image: tools.Kernel.Image, Modules: tools.Kernel.ModulesDir},
		Busybox:  tools.Busybox,
		CacheDir: filepath.Join(cache, "instance-images"),
		Files:    files,
	})
}

// defaultInstance is the image of instances that name none, made once per process:
// nitrolab's own with two enclave images and a program for attacks in it.
func defaultInstance(t testing.TB) *instance.Image {
	t.Helper()
	tools, _ := findTools(t)
	image, err := builtInstance(tools, cacheDir(t))
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	return image
}

var (
	instanceOnce  sync.Once
	instanceImage *instance.Image
	errInstance   error
)

func builtInstance(tools *toolchain.Toolchain, cache string) (*instance.Image, error) {
	instanceOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
		defer cancel()
		instanceImage, errInstance = buildDefaultInstance(ctx, tools, cache)
	})
	return instanceImage, errInstance
}

func buildDefaultInstance(ctx context.Context, tools *toolchain.Toolchain, cache string) (_ *instance.Image, err error) {
	dir, err := os.MkdirTemp("", "nitrolab-eif-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	kernel := bundle.Kernel{Image: tools.Kernel.Image, Modules: tools.Kernel.ModulesDir}
	attest, err := sample.Attest(ctx, kernel)
	if err != nil {
		return nil, err
	}
	agent, err := sample.Shell(ctx, kernel, tools.Busybox)
	if err != nil {
		return nil, err
	}
	programs, err := guestprog.Get(ctx, guestprog.Hostile)
	if err != nil {
		return nil, err
	}
	files := map[string]instance.File{"usr/bin/" + guestprog.Hostile: {Mode: 0o755, Data: programs[guestprog.Hostile]}}
	for guest, spec := range map[string]bundle.Spec{GuestSampleEIF: attest, GuestAgentEIF: agent} {
		path := filepath.Join(dir, filepath.Base(guest))
		if _, err := bundle.Build(ctx, path, spec); err != nil {
			return nil, err
		}
		files[strings.TrimPrefix(guest, "/")] = instance.File{Mode: 0o644, Path: path}
	}
	return buildInstance(ctx, tools, cache, files)
}
