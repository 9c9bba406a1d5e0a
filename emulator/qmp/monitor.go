package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	goqemu "github.com/digitalocean/go-qemu/qmp"
)

// Run sends one command given as JSON, {"execute": NAME, "arguments": {...}},
// and returns QEMU's whole reply, {"return": VALUE}, with the caller's id if the
// command had one. It is bounded by Config.RunTimeout. A refusal is an [*Error].
func (c *Client) Run(command []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.RunTimeout)
	defer cancel()
	return c.RunContext(ctx, command)
}

// RunContext is Run with a context in place of the timeout.
func (c *Client) RunContext(ctx context.Context, command []byte) ([]byte, error) {
	var in struct {
		Execute   string          `json:"execute"`
		Arguments json.RawMessage `json:"arguments"`
		ID        json.RawMessage `json:"id"`
	}
	if err := json.Unmarshal(command, &in); err != nil {
		return nil, fmt.Errorf("qmp: run: decode command: %w", err)
	}
	if in.Execute == "" {
		return nil, errors.New("qmp: run: command has no execute member")
	}
	var args any
	if in.Arguments != nil {
		args = in.Arguments
	}
	value, err := c.execute(ctx, in.Execute, args, nil)
	if err != nil {
		return nil, err
	}
	out := struct {
		Return json.RawMessage `json:"return"`
		ID     json.RawMessage `json:"id,omitempty"`
	}{value, in.ID}
	return json.Marshal(out)
}

// Events streams events until ctx ends or the connection does; then the channel
// is closed. A receiver that stops receiving holds up nobody, and loses events
// by the rule of [Subscription] only.
func (c *Client) Events(ctx context.Context) (<-chan goqemu.Event, error) {
	c.mu.Lock()
	err := c.err
	if err == nil {
		c.pumps.Add(1)
	}
	c.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("qmp: events: %w", err)
	}
	// Subscribed before Events returns, so that what a later command causes is
	// in the stream.
	s := c.Subscribe()
	out := make(chan goqemu.Event)
	go func() {
		defer c.pumps.Done()
		defer close(out)
		defer func() { _ = s.Close() }()
		c.pump(ctx, s, out)
	}()
	return out, nil
}

// pump moves events from s to out. After Close, which waits for it, it hands
// over no more than the receiver is there to take.
func (c *Client) pump(ctx context.Context, s *Subscription, out chan<- goqemu.Event) {
	for {
		e, err := s.Next(ctx)
		if err != nil {
			return
		}
		select {
		case out <- e.toGoQEMU():
			continue
		case <-ctx.Done():
			return
		case <-c.closing:
		}
		select {
		case out <- e.toGoQEMU():
		default:
			return
		}
	}
}
