package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator/guestagent"
	"github.com/nitrolab/nitrolab/emulator/supervisor"
)

// listAll is supervisor.List for this user: with an error it may still have some.
func listAll(ctx context.Context) ([]supervisor.Running, error) {
	base, err := supervisor.BaseDir()
	if err != nil {
		return nil, err
	}
	return supervisor.List(ctx, base)
}

// resolve finds what a person means by words, see supervisor.Resolve.
func resolve(ctx context.Context, words ...string) ([]supervisor.Running, error) {
	base, err := supervisor.BaseDir()
	if err != nil {
		return nil, err
	}
	return supervisor.Resolve(ctx, base, words...)
}

func resolveOne(ctx context.Context, word string) (supervisor.Running, error) {
	found, err := resolve(ctx, word)
	if err != nil {
		return supervisor.Running{}, err
	}
	return found[0], nil
}

// about makes the error of a guest that is gone a sentence.
func about(r supervisor.Running, err error) error {
	if errors.Is(err, supervisor.ErrGone) {
		return fmt.Errorf("%s has ended", &r.Description)
	}
	return err
}

// agentTimeout bounds the connection to the agent. It takes 0.3 s, and 1.5 s
// under TCG.
const agentTimeout = 60 * time.Second

// connectAgent connects to the agent of a running guest. The caller closes it.
func connectAgent(ctx context.Context, r supervisor.Running) (*guestagent.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	conn, err := r.Dial(ctx, ports.Agent)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED) && r.Enclave != nil:
		return nil, fmt.Errorf("%s has no agent on vsock port %d; nitrolab eif sample --shell makes an image with one", &r.Description, ports.Agent)
	case err != nil:
		return nil, about(r, err)
	}
	return guestagent.New(ctx, conn)
}
