package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/guestprog"
	"github.com/nitrolab/nitrolab/images/instance"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// sampleInInstance is where every instance has the sample enclave image.
const sampleInInstance = "/usr/share/nitro_enclaves/examples/sample.eif"

// instanceImage makes what instances boot. It is the same for all, so that they
// share one snapshot: files of the user's own are copied into the running instance.
func instanceImage(ctx context.Context, tools *toolchain.Toolchain, cacheDir string) (*instance.Image, error) {
	sample, err := sampleCache{filepath.Join(cacheDir, "samples")}.get(ctx, tools)
	if err != nil {
		return nil, err
	}
	return instance.Build(ctx, instance.Spec{
		Kernel:   instance.Kernel{Image: tools.Kernel.Image, Modules: tools.Kernel.ModulesDir, Release: tools.Kernel.Release},
		Busybox:  tools.Busybox,
		CacheDir: filepath.Join(cacheDir, "instance-images"),
		Files:    map[string]instance.File{sampleInInstance: {Path: sample, Mode: 0o644}},
	})
}

// A sampleCache is a folder of sample images by what they are made from. To make one
// takes 0.3 s, half as long as a whole launch.
type sampleCache struct{ dir string }

// keptSamples is how many images of 17 MB stay.
const keptSamples = 3

// get is the path of the image, which is made if need be.
func (c sampleCache) get(ctx context.Context, tools *toolchain.Toolchain) (string, error) {
	key, err := sampleKey(ctx, tools)
	if err != nil {
		return "", err
	}
	path := filepath.Join(c.dir, key+".eif")
	if f, err := eif.OpenFile(path); err == nil {
		now := time.Now()
		_ = os.Chtimes(path, now, now) // for prune; a cache that cannot be written is still one
		return path, f.Close()
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return "", fmt.Errorf("sample image: %w", err)
	}
	if _, err := buildSample(ctx, tools, false, path); err != nil {
		return "", err
	}
	c.prune()
	return path, nil
}

// sampleKey is a digest of all that goes into the image.
func sampleKey(ctx context.Context, tools *toolchain.Toolchain) (string, error) {
	kernel, err := os.Stat(tools.Kernel.Image)
	if err != nil {
		return "", fmt.Errorf("sample image: kernel: %w", err)
	}
	programs, err := guestprog.Get(ctx, guestprog.Init, guestprog.Attest)
	if err != nil {
		return "", fmt.Errorf("sample image: %w", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s %d %d\n%s\n", version, tools.Kernel.Image, kernel.Size(), kernel.ModTime().UnixNano(), tools.Kernel.ModulesDir)
	for _, name := range []string{guestprog.Init, guestprog.Attest} {
		fmt.Fprintf(h, "%s %x\n", name, sha256.Sum256(programs[name]))
	}
	return hex.EncodeToString(h.Sum(nil))[:32], nil
}

// prune removes the images that were not used for longest. What cannot be removed
// is left for the next time.
func (c sampleCache) prune() {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	var images []os.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), ".eif") {
			images = append(images, info)
		}
	}
	slices.SortFunc(images, func(a, b os.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, i := range images[min(keptSamples, len(images)):] {
		_ = os.Remove(filepath.Join(c.dir, i.Name()))
	}
}
