package control

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// A Client is the Host's end. Its methods may be called from any goroutine and
// take turns. After one that failed because its context ended, the next works: a
// late answer is dropped.
//
// The guest is not trusted. It can keep a call from returning until its context
// ends, so that every context needs an end.
type Client struct {
	conn  net.Conn
	turn  chan struct{} // holds an element while a request is under way
	lines *lineReader
	id    uint64 // of the last request
}

// NewClient begins a conversation over a connected port, which the client owns.
// Nothing is sent: a guest that was not restored yet cannot answer.
func NewClient(conn net.Conn) *Client {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return &Client{
		conn:  conn,
		turn:  make(chan struct{}, 1),
		lines: newLineReader(conn),
		// Somewhere else than any other conversation, and exact in JSON.
		id: binary.LittleEndian.Uint64(b[:]) >> 12,
	}
}

// Close ends the conversation and a call under way.
func (c *Client) Close() error { return c.conn.Close() }

// Ping returns when the guest's control program answers.
func (c *Client) Ping(ctx context.Context) error {
	a, err := c.call(ctx, &request{Ping: &struct{}{}})
	if err == nil && a.Pong == nil {
		err = ErrProtocol
	}
	return wrap("ping guest", err)
}

// Resume gives the guest its randomness, time and identity. When it returns, the
// agent listens; what ran in an agent before has been ended.
func (c *Client) Resume(ctx context.Context, r Resume) (Ready, error) {
	const op = "resume guest"
	if err := r.Validate(); err != nil {
		return Ready{}, wrap(op, err)
	}
	a, err := c.call(ctx, &request{Resume: &r})
	switch {
	case err != nil:
		return Ready{}, wrap(op, err)
	case a.Ready == nil:
		return Ready{}, wrap(op, ErrProtocol)
	}
	if err := a.Ready.validate(); err != nil {
		return Ready{}, wrap(op, fmt.Errorf("%w: %w", ErrProtocol, err))
	}
	return *a.Ready, nil
}

// Quiesce makes the guest ready for a snapshot: what ran in the agent has ended,
// nothing secret is left, memory is tidy. Resume is the way back, in this guest
// and in its clones.
func (c *Client) Quiesce(ctx context.Context) error {
	a, err := c.call(ctx, &request{Quiesce: &struct{}{}})
	if err == nil && a.Quiesced == nil {
		err = ErrProtocol
	}
	return wrap("quiesce guest", err)
}

// Devices waits until the guest can use the devices wanted, see [DevicesRequest],
// and lists its PCI functions. The guest gives up a little before ctx does, and
// then the error is an *[Error] with code [Missing].
func (c *Client) Devices(ctx context.Context, want ...string) ([]Device, error) {
	const op = "wait for devices of guest"
	req := &DevicesRequest{Want: want, TimeoutMs: MaxDevicesTimeout.Milliseconds()}
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end)
		// Its answer must come before ctx ends, also from a slow guest.
		left -= min(left/4, time.Second)
		req.TimeoutMs = min(max(left.Milliseconds(), 0), req.TimeoutMs)
	}
	if req.Want == nil {
		req.Want = []string{}
	}
	if err := req.Validate(); err != nil {
		return nil, wrap(op, err)
	}
	a, err := c.call(ctx, &request{Devices: req})
	switch {
	case err != nil:
		return nil, wrap(op, err)
	case a.Devices == nil:
		return nil, wrap(op, ErrProtocol)
	}
	if err := validateDevices(*a.Devices); err != nil {
		return nil, wrap(op, fmt.Errorf("%w: %w", ErrProtocol, err))
	}
	return *a.Devices, nil
}

func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", op, err)
}

// call sends a request and waits for its answer.
func (c *Client) call(ctx context.Context, req *request) (*answer, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	late := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(late)
		_ = c.conn.SetDeadline(time.Unix(1, 0))
	})
	a, err := c.exchange(req)
	if !stop() {
		<-late // or the deadline would hit the next call
	}
	if err != nil && ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		err = ctx.Err()
	}
	return a, err
}

func (c *Client) exchange(req *request) (*answer, error) {
	c.id++
	req.Version, req.ID = Version, c.id
	line, err := encode(req)
	if err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(line); err != nil {
		return nil, err
	}
	for {
		line, err := c.lines.line()
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		var head struct {
			Re uint64 `json:"re"`
		}
		if json.Unmarshal(line, &head) != nil || head.Re != req.ID {
			continue // of an earlier request, or a conversation before
		}
		a := &answer{}
		if err := json.Unmarshal(line, a); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		switch {
		case a.Version != Version:
			return nil, fmt.Errorf("%w: version %d, this is %d", ErrProtocol, a.Version, Version)
		case a.Error != nil:
			return nil, a.Error.checked()
		}
		return a, nil
	}
}
