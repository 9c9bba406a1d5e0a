package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/emulator/supervisor"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// artifactsDir gets a folder for each enclave that failed, where its user looks.
const artifactsDir = "nitrolab-artifacts"

// places are where a Host of this user keeps what it has.
type places struct {
	state     string // what goes with the Host
	cache     string // what stays
	artifacts string // what is left of enclaves that failed
}

func findPlaces() (p places, err error) {
	if p.state, err = supervisor.BaseDir(); err != nil {
		return p, err
	}
	if p.cache, err = toolchain.CacheDir(); err != nil {
		return p, err
	}
	if p.artifacts, err = filepath.Abs(artifactsDir); err != nil {
		return p, fmt.Errorf("find the current folder: %w", err)
	}
	return p, nil
}

// A localHost is a Host that lives as long as one command, which owns it.
type localHost struct {
	*emulator.Host
	tools *toolchain.Toolchain
	accel qemu.Accel
}

// toolFlags are the flags of every command that boots a guest.
type toolFlags struct{ accel, qemu string }

// find finds the tool chain and the accelerator, with progress on standard error.
func (f toolFlags) find(ctx context.Context, parts toolchain.Part) (*toolchain.Toolchain, qemu.Accel, error) {
	tools, err := findToolsShowing(ctx, parts, f.qemu)
	if err != nil {
		return nil, qemu.Accel{}, err
	}
	accel, err := chooseAccel(ctx, tools, f.accel)
	return tools, accel, err
}

// newLocalHost makes a Host with a new identity, whose instances have a role, if it is
// not empty. Its warnings go to standard error.
func newLocalHost(tools *toolchain.Toolchain, accel qemu.Accel, role string) (*localHost, error) {
	p, err := findPlaces()
	if err != nil {
		return nil, err
	}
	host, err := emulator.NewHost(emulator.Config{
		Tools:        tools,
		Accel:        accel,
		StateDir:     p.state,
		CacheDir:     p.cache,
		ArtifactsDir: p.artifacts,
		Role:         role,
		Log:          slog.New(lineHandler{slog.LevelWarn, func(l string) { fmt.Fprintln(os.Stderr, l) }}),
	})
	if err != nil {
		return nil, err
	}
	return &localHost{host, tools, accel}, nil
}

// closeInto closes the Host at the end of a command, whose error it joins.
func (h *localHost) closeInto(err *error) { *err = errors.Join(*err, h.Close()) }
