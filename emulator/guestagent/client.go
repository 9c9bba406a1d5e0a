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
	Status int    // 1 to 255; 0 if a signal ended it
	Signal string // such as KILL, without SIG
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

// Streams are what a command reads and writes; nil is nothing.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Run runs a command line through the guest's shell and waits for its end. If
// ctx ends first, the command is killed. The error is an *ExitError if the
// command failed.
func (c *Client) Run(ctx context.Context, command string, s Streams) error {
	session, err := c.ssh.NewSession()
	if err != nil {
		return fmt.Errorf("run in guest: %w", err)
	}
	defer session.Close()
	session.Stdin, session.Stdout, session.Stderr = s.Stdin, s.Stdout, s.Stderr
	return wait(ctx, session, func() error { return session.Run(command) })
}

// Output is Run with the standard output returned.
func (c *Client) Output(ctx context.Context, command string) ([]byte, error) {
	var out, errs tail
	err := c.Run(ctx, command, Streams{Stdout: &out, Stderr: &errs})
	var exit *ExitError
	if errors.As(err, &exit) {
		exit.Stderr = errs.b
	}
	return out.b, err
}

// maxOutput bounds what is kept of a command's output: the last MiB.
const maxOutput = 1 << 20

// tail keeps the last maxOutput bytes written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - maxOutput; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

// Start runs a command whose standard input and output are the returned
// connection. Closing it ends the command.
func (c *Client) Start(command string) (io.ReadWriteCloser, error) {
	session, err := c.ssh.NewSession()
	if err != nil {
		return nil, fmt.Errorf("start in guest: %w", err)
	}
	p := &pipe{session: session}
	if p.WriteCloser, err = session.StdinPipe(); err == nil {
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
	io.WriteCloser
	session *ssh.Session
}

func (p *pipe) Close() error {
	_ = p.WriteCloser.Close()
	if err := p.session.Close(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil // the command had ended by itself
}

// wait runs a session's blocking call and makes errors uniform.
func wait(ctx context.Context, session *ssh.Session, call func() error) error {
	stop := context.AfterFunc(ctx, func() {
		_ = session.Signal(ssh.SIGKILL)
		_ = session.Close()
	})
	defer stop()
	err := call()
	var exit *ssh.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit):
		return &ExitError{Status: exit.ExitStatus(), Signal: exit.Signal()}
	case err != nil:
		return fmt.Errorf("run in guest: %w", err)
	}
	return nil
}
