// Package guestagent runs commands in a guest that has nitrolab's agent
// (guest/agent): an SSH client over one connection to the agent's port.
package guestagent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// A Client is one connection to an agent. Its commands may run at once.
type Client struct{ ssh *ssh.Client }

// New starts SSH on an open connection, which it then owns. ctx bounds that.
//
// The host key is not checked: it is a new one at each boot, and the connection
// is a vsock of the emulated Host, on which nobody else can answer.
func New(ctx context.Context, conn net.Conn) (*Client, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(conn, "guest", &ssh.ClientConfig{
		User:            "root",
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("connect to guest agent: %w", err)
	}
	if !stop() {
		c.Close()
		return nil, fmt.Errorf("connect to guest agent: %w", ctx.Err())
	}
	return &Client{ssh: ssh.NewClient(c, channels, requests)}, nil
}

// Close ends the connection and with it every command.
func (c *Client) Close() error { return c.ssh.Close() }

// An ExitError is a command that ended otherwise than with status 0.
type ExitError struct {
	Status int    // 1 to 255; 128 and more if a signal ended it, as shells count
	Signal string // such as KILL, without SIG; empty if none ended it
	Stderr []byte // the end of what it wrote, if nobody else took it
}

func (e *ExitError) Error() string {
	s := fmt.Sprintf("exit status %d", e.Status)
	if e.Signal != "" {
		s = "signal " + e.Signal
	}
	if len(e.Stderr) > 0 {
		s += ": " + string(bytes.TrimSpace(e.Stderr))
	}
	return s
}

// ErrLost says that the connection ended before the command did: the agent or
// the whole guest is gone.
var ErrLost = errors.New("the guest's agent ended the connection")

func (c *Client) session() (*ssh.Session, error) {
	s, err := c.ssh.NewSession()
	return s, lost(err)
}

// lost is err with its meaning where SSH is asked on a connection that is gone.
func lost(err error) error {
	var network net.Error
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &network) {
		return ErrLost
	}
	return err
}

// Streams are what a command reads and writes; nil is nothing. A Stdin that the
// command does not read to its end may be read a little further than it did, by a
// goroutine that ends with the next Read.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Run runs a command line through the guest's shell and waits for its end. If
// ctx ends first, the command is killed. The error is an *ExitError if the
// command failed.
func (c *Client) Run(ctx context.Context, command string, s Streams) error {
	session, err := c.session()
	if err != nil {
		return fmt.Errorf("run in guest: %w", err)
	}
	defer session.Close()
	session.Stdin, session.Stdout, session.Stderr = s.Stdin, s.Stdout, s.Stderr
	return c.wait(ctx, session, func() error { return session.Start(command) })
}

// Output is Run with the standard output returned.
func (c *Client) Output(ctx context.Context, command string) ([]byte, error) {
	var out, errs tail
	err := c.Run(ctx, command, Streams{Stdout: &out, Stderr: &errs})
	var exit *ExitError
	if errors.As(err, &exit) {
		exit.Stderr = errs.last()
	}
	return out.last(), err
}

// maxOutput bounds what is kept of a command's output: the last MiB.
const maxOutput = 1 << 20

// tail keeps the last maxOutput bytes written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	p = p[max(0, n-maxOutput):]
	// Twice the size, so that each byte is moved at most once.
	if len(t.b)+len(p) > 2*maxOutput {
		t.b = append(t.b[:0], t.last()...)
	}
	t.b = append(t.b, p...)
	return n, nil
}

func (t *tail) last() []byte { return t.b[max(0, len(t.b)-maxOutput):] }

// Start runs a command whose standard input and output are the returned
// connection. Closing it ends the command, and reads and writes under way. Its
// method CloseWrite ends the input alone.
func (c *Client) Start(command string) (io.ReadWriteCloser, error) {
	session, err := c.session()
	if err != nil {
		return nil, fmt.Errorf("start in guest: %w", err)
	}
	p := &pipe{client: c, session: session}
	if p.in, err = session.StdinPipe(); err == nil {
		p.Reader, err = session.StdoutPipe()
	}
	if err == nil {
		err = session.Start(command)
	}
	if err != nil {
		session.Close()
		return nil, fmt.Errorf("start in guest: %w", err)
	}
	return p, nil
}

type pipe struct {
	io.Reader
	in      io.WriteCloser
	client  *Client
	session *ssh.Session
	once    sync.Once
}

func (p *pipe) Write(b []byte) (int, error) { return p.in.Write(b) }

// CloseWrite ends the command's input.
func (p *pipe) CloseWrite() error { return p.in.Close() }

func (p *pipe) Close() error {
	p.once.Do(func() {
		p.client.end(p.session, func() { _ = p.session.Wait() }) // how it ended is nobody's business
	})
	return nil
}

// closeTimeout is how long an agent may take to confirm that a session is over.
// It takes a millisecond; a guest that hangs takes for ever.
const closeTimeout = 2 * time.Second

// end closes a session and returns when call, which waits for it, has. If the
// agent does not confirm, the connection is closed, with all sessions on it:
// nothing else makes reads and writes return that wait for a dead guest.
func (c *Client) end(session *ssh.Session, call func()) {
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		call()
	}()
	// In a goroutine, because sending blocks when the guest takes nothing.
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = session.Signal(ssh.SIGKILL)
		_ = session.Close()
	}()
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-returned:
	case <-timer.C:
		_ = c.ssh.Close()
		<-returned
	}
	select {
	case <-closed:
	case <-timer.C:
		_ = c.ssh.Close()
		<-closed
	}
}

// wait starts a session, waits for its end and makes errors uniform.
func (c *Client) wait(ctx context.Context, session *ssh.Session, start func() error) error {
	done := make(chan error, 1)
	go func() {
		if err := start(); err != nil {
			done <- lost(err)
			return
		}
		err := session.Wait()
		if errors.Is(err, io.EOF) {
			err = nil // the command did not read all of its input, which is its right
		}
		done <- err
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		c.end(session, func() { <-done })
		return ctx.Err()
	}
	var exit *ssh.ExitError
	var missing *ssh.ExitMissingError
	switch {
	case errors.As(err, &exit):
		// The status is what the guest says it is.
		return &ExitError{Status: min(exit.ExitStatus(), 255), Signal: exit.Signal()}
	case errors.As(err, &missing):
		return fmt.Errorf("run in guest: %w", ErrLost)
	case err != nil:
		return fmt.Errorf("run in guest: %w", err)
	}
	return nil
}
