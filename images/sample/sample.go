// Package sample describes the images that nitrolab itself boots: the sample
// enclave of `make run`, the debug image of `make shell` and of tests, and images
// that fail on purpose. Package bundle builds them.
package sample

import (
	"context"
	"fmt"
	"os"
	"path"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/guestprog"
)

// Attest is the sample enclave: one program that answers nonces with attestation
// documents (guest/cmd/attest), and nothing else.
func Attest(ctx context.Context, k bundle.Kernel) (bundle.Spec, error) {
	files, err := programs(ctx, guestprog.Attest)
	if err != nil {
		return bundle.Spec{}, fmt.Errorf("sample image: %w", err)
	}
	return spec(k, "sample", bundle.Records{Files: files, Cmd: []string{"/bin/attest"}}), nil
}

// Shell is the debug image: the agent (guest/cmd/agent), busybox with a link for
// each of its commands, `nsm`, `vsock` and `misbehave`. busybox is the path of a
// static busybox for x86-64.
func Shell(ctx context.Context, k bundle.Kernel, busybox string) (bundle.Spec, error) {
	files, err := programs(ctx, guestprog.Agent, guestprog.NSM, guestprog.Vsock, guestprog.Misbehave)
	if err != nil {
		return bundle.Spec{}, fmt.Errorf("shell image: %w", err)
	}
	box, err := os.ReadFile(busybox)
	if err != nil {
		return bundle.Spec{}, fmt.Errorf("shell image: busybox: %w", err)
	}
	files = append(files,
		program("busybox", box),
		cpio.Directory("root", 0o700),
		cpio.StaticFile("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644),
		cpio.StaticFile("etc/group", "root:x:0:\n", 0o644),
		cpio.StaticFile("etc/profile", "PS1='enclave:\\w# '\n", 0o644),
	)
	return spec(k, "shell", bundle.Records{
		Files: files,
		// busybox knows its commands, and running it here, on the host, would be
		// the only other way to learn them.
		Cmd: []string{"/bin/busybox", "sh", "-c", "/bin/busybox --install -s /bin && exec /bin/agent"},
		Env: []string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/root", "USER=root"},
	}), nil
}

// Misbehave is an image whose application is guest/cmd/misbehave with the given
// arguments.
func Misbehave(ctx context.Context, k bundle.Kernel, args ...string) (bundle.Spec, error) {
	files, err := programs(ctx, guestprog.Misbehave)
	if err != nil {
		return bundle.Spec{}, fmt.Errorf("misbehaving image: %w", err)
	}
	return spec(k, "misbehave", bundle.Records{Files: files, Cmd: append([]string{"/bin/misbehave"}, args...)}), nil
}

// MisbehaveAsInit is an image in which guest/cmd/misbehave is PID 1, so that
// nothing happens before it: no module is loaded and no heartbeat sent.
func MisbehaveAsInit(ctx context.Context, k bundle.Kernel, args ...string) (bundle.Spec, error) {
	s, err := Misbehave(ctx, k, args...)
	if err != nil {
		return s, err
	}
	init, err := guestprog.Get(ctx, guestprog.Misbehave)
	if err != nil {
		return s, fmt.Errorf("misbehaving image: %w", err)
	}
	s.Bootstrap.Init = init[guestprog.Misbehave]
	return s, nil
}

func spec(k bundle.Kernel, name string, app bundle.Records) bundle.Spec {
	return bundle.Spec{Kernel: k, Cmdline: bundle.Cmdline, App: app, Name: name, Tool: "nitrolab"}
}

// programs returns guest programs as files of /bin. init, which every image
// needs, is asked for too, so that all are built by one go command.
func programs(ctx context.Context, names ...string) ([]cpio.Record, error) {
	built, err := guestprog.Get(ctx, append([]string{guestprog.Init}, names...)...)
	if err != nil {
		return nil, err
	}
	var files []cpio.Record
	for _, name := range names {
		files = append(files, program(name, built[name]))
	}
	return files, nil
}

func program(name string, content []byte) cpio.Record {
	return cpio.StaticRecord(content, cpio.Info{Name: path.Join("bin", name), Mode: cpio.S_IFREG | 0o755})
}
