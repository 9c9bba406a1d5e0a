package bundle

import (
	"fmt"
	"io"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/initramfs"
)

// Names in the customer ramdisk, nitro-cli's (init.c of
// aws-nitro-enclaves-sdk-bootstrap), so that either ramdisk works with the other's
// stock counterpart.
const (
	commandName = "cmd"    // argv, one argument a line
	envName     = "env"    // environment, one NAME=value a line
	rootName    = "rootfs" // becomes / of the application
)

// mountPoints are the directories that nitro-cli puts into every root filesystem
// and AWS's init mounts on.
var mountPoints = []string{"dev", "proc", "run", "sys", "tmp", "var"}

// customerRamdisk makes the second ramdisk.
func customerRamdisk(app *application) (*io.SectionReader, error) {
	cmd, err := lines("argument", app.cmd)
	if err != nil {
		return nil, err
	}
	for _, v := range app.env {
		if strings.IndexByte(v, '=') <= 0 {
			return nil, fmt.Errorf("bundle: environment variable %q is not NAME=value", v)
		}
	}
	env, err := lines("environment variable", app.env)
	if err != nil {
		return nil, err
	}
	for _, d := range mountPoints {
		if err := app.tree.Mkdir(d); err != nil {
			return nil, fmt.Errorf("bundle: %w", err)
		}
	}
	a, err := initramfs.New(append(app.tree.Records(rootName),
		cpio.StaticFile(commandName, cmd, 0o644),
		cpio.StaticFile(envName, env, 0o644),
	))
	if err != nil {
		return nil, fmt.Errorf("bundle: application: %w", err)
	}
	return a.Section(), nil
}

// lines is the format of /cmd and /env: one item per line, each with a newline
// (nitro-cli enclave_build/src/docker.rs; init.c reads them with getline). An
// item with a newline of its own would become two.
func lines(what string, items []string) (string, error) {
	var b strings.Builder
	for _, s := range items {
		if strings.ContainsAny(s, "\n\x00") {
			return "", fmt.Errorf("bundle: %s %q has a newline or a NUL, which the image cannot hold", what, s)
		}
		b.WriteString(s)
		b.WriteByte('\n')
	}
	return b.String(), nil
}
