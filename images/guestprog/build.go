package guestprog

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stopDelay is what a cancelled go command has for its children to let go of
// the pipes after they were killed.
const stopDelay = 5 * time.Second

// Build builds main packages, given by import path, into outDir as static
// linux/amd64 executables and returns the path of each, keyed by the last
// element of its import path.
//
// Packages of this module are built inside this module, with its own go.sum, no
// matter which module the current directory belongs to. A dependent module
// often lacks checksums of what only guest programs import, may choose other
// versions, and would put its own version string in the binary: all three would
// change the measurement. Other packages are built in the current module.
//
// The result depends on the sources and the Go release only: paths, version
// control, build ids, cgo and the caller's go settings are kept out. Building
// needs the network only if a module is missing in the module cache.
//
// Errors that mean "no go command" or "no module here" match [ErrUnavailable].
func Build(ctx context.Context, outDir string, packages ...string) (map[string]string, error) {
	outDir, err := filepath.Abs(outDir)
	if err != nil {
		return nil, fmt.Errorf("build guest programs: %w", err)
	}
	programs := make(map[string]string, len(packages))
	var ours, others []string
	for _, p := range packages {
		if strings.HasPrefix(p, "-") || strings.Contains(p, "...") {
			return nil, fmt.Errorf("build guest programs: %q is no import path", p)
		}
		name := path.Base(p)
		if _, dup := programs[name]; dup {
			return nil, fmt.Errorf("build guest programs: two packages are named %s", name)
		}
		programs[name] = filepath.Join(outDir, name)
		if p == Module || strings.HasPrefix(p, Module+"/") {
			ours = append(ours, p)
		} else {
			others = append(others, p)
		}
	}

	g, err := newGoCommand(ctx)
	if err != nil {
		return nil, err
	}
	if len(ours) > 0 {
		root, err := g.moduleRoot(ctx)
		if err != nil {
			return nil, err
		}
		if err := g.build(ctx, root, outDir, ours); err != nil {
			return nil, err
		}
	}
	if len(others) > 0 {
		if err := g.build(ctx, "", outDir, others); err != nil {
			return nil, err
		}
	}
	return programs, nil
}

// A goCommand runs the go command with an environment that is not the caller's.
type goCommand struct {
	path string
	env  []string
}

// moduleRoot is the folder of this module's sources.
func (g *goCommand) moduleRoot(ctx context.Context) (string, error) {
	out, err := g.run(ctx, "", g.env, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", Module)
	if ctx.Err() != nil {
		return "", fmt.Errorf("build guest programs: %w", ctx.Err())
	}
	if err != nil {
		return "", fmt.Errorf("%w: this binary does not carry them, and the current directory belongs to no module that holds or requires %s (use a binary made by `make build`, or run it inside such a module): %v", ErrUnavailable, Module, err)
	}
	root := strings.TrimSpace(out)
	if root == "" {
		return "", fmt.Errorf("%w: the sources of %s are not in the module cache; `go mod download %[2]s` fetches them", ErrUnavailable, Module)
	}
	return root, nil
}

// build builds packages with one go command, so that what they share is
// compiled once. root "" is the current directory.
func (g *goCommand) build(ctx context.Context, root, outDir string, packages []string) error {
	env := g.env
	if root != "" {
		env = append(env[:len(env):len(env)], "GOWORK=off") // a workspace could replace our dependencies
	}
	args := append([]string{
		"build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=",
		"-o", outDir + string(filepath.Separator),
	}, packages...)
	if _, err := g.run(ctx, root, env, args...); err != nil {
		return fmt.Errorf("build guest programs: %w", err)
	}
	return nil
}

// run runs the go command in dir and returns its standard output. When ctx
// ends, the command and the compilers it started are killed.
func (g *goCommand) run(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, g.path, args...)
	cmd.Dir = dir
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = stopDelay
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}
