package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// A call is one command on its way.
type call struct {
	name string
	done chan reply // 1 slot: the reader never waits for the caller
}

type reply struct {
	value json.RawMessage
	err   error
}

// A request is a command as it goes over the wire.
type request struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
	ID        uint64 `json:"id"`
}

// Execute runs one command. args is marshalled as the command's arguments, nil
// for none; the reply is unmarshalled into result unless that is nil.
//
// A refusal is an [*Error]. When ctx ends, Execute returns its error at once;
// QEMU may still carry the command out, and its late reply is dropped.
func (c *Client) Execute(ctx context.Context, command string, args, result any) error {
	return c.ExecuteFiles(ctx, command, args, result)
}

// ExecuteFiles is Execute with open files alongside, for commands that take
// descriptors from the socket (getfd, add-fd). The caller keeps its files and
// may close them when ExecuteFiles has returned. The connection must be a unix
// socket; at most 16 files go with one command.
func (c *Client) ExecuteFiles(ctx context.Context, command string, args, result any, files ...*os.File) error {
	value, err := c.execute(ctx, command, args, files)
	if err != nil {
		return err
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(value, result); err != nil {
		return fmt.Errorf("qmp: %s: decode reply: %w", command, err)
	}
	return nil
}

// execute is Execute and ExecuteFiles once Connect has succeeded.
func (c *Client) execute(ctx context.Context, command string, args any, files []*os.File) (json.RawMessage, error) {
	c.mu.Lock()
	ready, err := c.ready, c.err
	c.mu.Unlock()
	switch {
	case err != nil:
		return nil, fmt.Errorf("qmp: %s: %w", command, err)
	case !ready:
		return nil, fmt.Errorf("qmp: %s: %w", command, ErrNotConnected)
	}
	value, err := c.do(ctx, command, args, files)
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			return nil, err // names the command itself
		}
		return nil, fmt.Errorf("qmp: %s: %w", command, err)
	}
	return value, nil
}

// do sends one command and waits for its reply.
func (c *Client) do(ctx context.Context, command string, args any, files []*os.File) (json.RawMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	id, p, err := c.register(command)
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(request{Execute: command, Arguments: args, ID: id})
	if err != nil {
		c.unregister(id)
		return nil, fmt.Errorf("encode arguments: %w", err)
	}
	c.cfg.Log.Debug("qmp command", "name", command, "id", id)
	if err := c.send(ctx, append(line, '\n'), files); err != nil {
		c.unregister(id)
		return nil, err
	}
	select {
	case r := <-p.done:
		return r.value, r.err
	case <-ctx.Done():
		// The entry stays: its reply is still to come and must not be taken
		// for one that nobody asked for.
		return nil, ctx.Err()
	}
}

func (c *Client) register(command string) (uint64, *call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, nil, c.err
	}
	if len(c.pending) >= c.cfg.MaxPending {
		return 0, nil, ErrBusy
	}
	c.lastID++
	p := &call{name: command, done: make(chan reply, 1)}
	c.pending[c.lastID] = p
	return c.lastID, p, nil
}

// unregister forgets a command that was never sent.
func (c *Client) unregister(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

// send writes one command whole. If ctx ends before the first byte, nothing
// happened; if it ends within, the stream is beyond repair and the client with
// it.
func (c *Client) send(ctx context.Context, line []byte, files []*os.File) error {
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-c.done:
		return c.Err()
	case <-ctx.Done():
		return ctx.Err()
	}

	// A deadline in the past interrupts a write that is under way. The next
	// writer must find none. On a closed socket both calls fail, and may.
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		_ = c.conn.SetWriteDeadline(time.Unix(1, 0))
	})
	n, err := c.write(line, files)
	if !stop() {
		<-interrupted
		_ = c.conn.SetWriteDeadline(time.Time{})
	}
	switch {
	case err == nil:
		return nil
	case n == 0 && ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded):
		return ctx.Err()
	case n == 0 && errors.Is(err, errNoFiles):
		return err
	case ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded):
		_ = c.fail(fmt.Errorf("%w: a command was cut off: %w", ErrDisconnected, ctx.Err()))
	default:
		_ = c.fail(fmt.Errorf("%w: %w", ErrDisconnected, err))
	}
	return c.Err()
}

func (c *Client) write(line []byte, files []*os.File) (int, error) {
	if len(files) == 0 {
		return c.conn.Write(line)
	}
	return writeFiles(c.conn, line, files)
}
