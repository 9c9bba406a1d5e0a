// Package guestprog provides the programs that run inside a guest, the mains
// below guest/cmd, as static linux/amd64 executables.
//
// A program is part of an image and an image is measured, so the same sources
// and the same Go release give the same bytes on any machine and in any folder.
// Two sources exist:
//
//   - a binary built with the tag embedguest carries them, see [Embedded];
//   - else they are built with the go command from the nitrolab module that the
//     current directory belongs to or depends on, see [Build].
package guestprog

//go:generate go run ./fill bin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
)

// Module is the path of this module.
const Module = "github.com/nitrolab/nitrolab"

// Names of the programs, each a folder of guest/cmd.
const (
	Init      = "init"                     // PID 1 of the bootstrap ramdisk
	Instance  = "instance"                 // PID 1 and agent of a parent instance
	Attest    = "attest"                   // answers with attestation documents
	Agent     = "agent"                    // SSH server on vsock, for shells and tests
	Misbehave = "misbehave"                // panics, hangs, resets and floods on purpose
	Hostile   = "hostile"                  // what a parent instance does that wants to harm or to spy
	NSM       = "nsm"                      // asks /dev/nsm from the command line
	Vsock     = "vsock"                    // joins standard input and output with a vsock connection
	NitroCLI  = "nitro-cli"                // starts enclaves from a parent instance
	Allocator = "nitro-enclaves-allocator" // sets CPUs and memory aside for them

	// VsockProxy carries connections of enclaves to a service.
	VsockProxy = "vsock-proxy"

	// The confidential inference sample: the enclave, the same with protections that
	// tests can switch off, and the parent's side.
	Inference     = "inference"
	WeakInference = "weakinference"
	InferCtl      = "inferctl"
)

// All returns the names of all programs.
func All() []string {
	return []string{Init, Instance, Attest, Agent, Misbehave, Hostile, NSM, Vsock, NitroCLI, Allocator, VsockProxy,
		Inference, WeakInference, InferCtl}
}

// ErrUnavailable says that a program is neither embedded nor can be built.
var ErrUnavailable = errors.New("guest programs unavailable")

// Get returns the named programs, keyed by name. The bytes are shared between
// callers and must not be modified.
//
// Programs that have to be built are built once per process; a later change of
// the sources is not seen. Get is safe for concurrent use, and a build that one
// caller waits for is waited for by all.
func Get(ctx context.Context, names ...string) (map[string][]byte, error) {
	programs := make(map[string][]byte, len(names))
	var missing []string
	for _, name := range names {
		if path.Base(name) != name || name == "." || name == ".." {
			return nil, fmt.Errorf("guest program %q: not a name", name)
		}
		if b, err := fs.ReadFile(embedded, path.Join("bin", name)); err == nil {
			programs[name] = b
		} else {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return programs, nil
	}
	return programs, built.get(ctx, missing, programs)
}

// Embedded reports whether this binary carries the guest programs.
func Embedded() bool {
	_, err := fs.Stat(embedded, path.Join("bin", Init))
	return err == nil
}

// built holds the programs that this process has built.
var built = cache{build: Build, programs: make(map[string][]byte), turn: make(chan struct{}, 1)}

type cache struct {
	build func(ctx context.Context, outDir string, packages ...string) (map[string]string, error)

	turn chan struct{} // a lock one can stop waiting for; held while building

	mu       sync.Mutex // protects programs
	programs map[string][]byte
}

func (c *cache) get(ctx context.Context, names []string, into map[string][]byte) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return fmt.Errorf("build guest programs: %w", ctx.Err())
	}

	var packages []string
	for _, name := range names {
		if b, ok := c.lookup(name); ok {
			into[name] = b
			continue
		}
		packages = append(packages, Module+"/guest/cmd/"+name)
	}
	if len(packages) == 0 {
		return nil
	}
	dir, err := os.MkdirTemp("", "nitrolab-guest-")
	if err != nil {
		return fmt.Errorf("build guest programs: %w", err)
	}
	defer os.RemoveAll(dir)
	paths, err := c.build(ctx, dir, packages...)
	if err != nil {
		return err
	}
	for name, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			return fmt.Errorf("build guest programs: %w", err)
		}
		c.mu.Lock()
		c.programs[name] = b
		c.mu.Unlock()
		into[name] = b
	}
	return nil
}

func (c *cache) lookup(name string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.programs[name]
	return b, ok
}
