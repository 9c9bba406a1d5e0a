// Package sample builds the images that nitrolab itself boots: the sample
// enclave of `make run`, the debug image of `make shell` and of tests, and images
// that fail on purpose.
package sample

import (
	"context"
	"fmt"
	"path"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/bootable"
	"github.com/nitrolab/nitrolab/images/guestprog"
	"github.com/nitrolab/nitrolab/images/initramfs"
)

// Attest is the sample enclave: one program that answers nonces with attestation
// documents (guest/cmd/attest), and nothing else.
func Attest(ctx context.Context, k bootable.Kernel) (*bootable.Image, error) {
	root, err := programs(ctx, guestprog.Attest)
	if err != nil {
		return nil, fmt.Errorf("build sample image: %w", err)
	}
	return bootable.New(ctx, k, initramfs.Application{Command: []string{"/bin/attest"}, Root: root}, "sample")
}

// Shell is the debug image: the agent (guest/cmd/agent), busybox with a link for
// each of its commands, `nsm` and `misbehave`. busybox is the path of a static
// busybox for x86-64.
func Shell(ctx context.Context, k bootable.Kernel, busybox string) (*bootable.Image, error) {
	root, err := programs(ctx, guestprog.Agent, guestprog.NSM, guestprog.Misbehave)
	if err != nil {
		return nil, fmt.Errorf("build shell image: %w", err)
	}
	box, err := initramfs.FromFile("bin/busybox", busybox, 0o755)
	if err != nil {
		return nil, fmt.Errorf("build shell image: %w", err)
	}
	root = append(root, box,
		cpio.Directory("root", 0o700),
		cpio.StaticFile("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644),
		cpio.StaticFile("etc/group", "root:x:0:\n", 0o644),
		cpio.StaticFile("etc/profile", "PS1='enclave:\\w# '\n", 0o644),
	)
	// busybox knows its commands, and running it here, on the host, would be the
	// only other way to learn them.
	app := initramfs.Application{
		Command: []string{"/bin/busybox", "sh", "-c", "/bin/busybox --install -s /bin && exec /bin/agent"},
		Env:     []string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/root", "USER=root"},
		Root:    root,
	}
	return bootable.New(ctx, k, app, "shell")
}

// Misbehave is an image whose application is guest/cmd/misbehave with the given
// arguments.
func Misbehave(ctx context.Context, k bootable.Kernel, args ...string) (*bootable.Image, error) {
	app, err := misbehave(ctx, args)
	if err != nil {
		return nil, err
	}
	return bootable.New(ctx, k, app, "misbehave")
}

// MisbehaveAsInit is an image in which guest/cmd/misbehave is PID 1, so that
// nothing happens before it: no module is loaded and no heartbeat sent.
func MisbehaveAsInit(ctx context.Context, k bootable.Kernel, args ...string) (*bootable.Image, error) {
	app, err := misbehave(ctx, args)
	if err != nil {
		return nil, err
	}
	init, err := guestprog.Get(ctx, guestprog.Misbehave)
	if err != nil {
		return nil, fmt.Errorf("build misbehaving image: %w", err)
	}
	return bootable.NewWithInit(k, init[guestprog.Misbehave], app, "misbehave")
}

func misbehave(ctx context.Context, args []string) (initramfs.Application, error) {
	root, err := programs(ctx, guestprog.Misbehave)
	if err != nil {
		return initramfs.Application{}, fmt.Errorf("build misbehaving image: %w", err)
	}
	return initramfs.Application{Command: append([]string{"/bin/misbehave"}, args...), Root: root}, nil
}

// programs returns guest programs as files of /bin. init, which every image
// needs, is asked for too, so that all are built by one go command.
func programs(ctx context.Context, names ...string) ([]initramfs.File, error) {
	built, err := guestprog.Get(ctx, append([]string{guestprog.Init}, names...)...)
	if err != nil {
		return nil, err
	}
	var files []initramfs.File
	for _, name := range names {
		files = append(files, cpio.StaticFile(path.Join("bin", name), string(built[name]), 0o755))
	}
	return files, nil
}
