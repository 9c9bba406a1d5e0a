// Package agent is an SSH server that runs commands in a guest, for the debug
// shell and for tests. It takes any listener; guest/cmd/agent gives it vsock.
//
// There is no authentication and the host key is a new one for each server. That
// is fine only because of where it listens: vsock of an enclave is reachable by
// its parent alone, both run on an emulated Host that belongs to the caller, and
// the agent is in images that are made for it, never in an application's. It
// must not be put on a network.
//
// Supported are sessions with "exec" and "shell", with or without a terminal,
// with "env", "window-change" and "signal" (RFC 4254 section 6), and the subsystem
// of package files. Forwarding and other subsystems are refused.
package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// handshakeTimeout bounds the key exchange. It takes 0.1 s under TCG.
	handshakeTimeout = 60 * time.Second

	maxConns    = 32 // connections at a time; the next waits in the listener
	maxSessions = 64 // sessions at a time, over all connections; the next is refused
)

// Config are the optional settings of a [Server].
type Config struct {
	// Shell interprets "exec" commands (with -c) and serves "shell" (with -l);
	// empty means /bin/sh. Where there is no such file, an "exec" command is
	// split at white space and run directly, and "shell" fails.
	Shell string

	// Env is the environment of commands, before the client's additions; nil
	// means that of this process.
	Env []string

	// Log receives what goes wrong with connections; nil discards it.
	Log *slog.Logger
}

// A Server serves SSH connections. It may serve several listeners; the limits
// are over all of them.
type Server struct {
	cfg      Config
	ssh      *ssh.ServerConfig
	conns    chan struct{} // one element for each connection
	sessions chan struct{} // one element for each session
}

// New makes a server with a fresh host key.
func New(cfg *Config) (*Server, error) {
	s := &Server{
		conns:    make(chan struct{}, maxConns),
		sessions: make(chan struct{}, maxSessions),
	}
	if cfg != nil {
		s.cfg = *cfg
	}
	if s.cfg.Shell == "" {
		s.cfg.Shell = "/bin/sh"
	}
	if s.cfg.Env == nil {
		s.cfg.Env = os.Environ()
	}
	if s.cfg.Log == nil {
		s.cfg.Log = slog.New(slog.DiscardHandler)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make host key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, fmt.Errorf("make host key: %w", err)
	}
	s.ssh = &ssh.ServerConfig{NoClientAuth: true, ServerVersion: "SSH-2.0-nitrolab-agent"}
	s.ssh.AddHostKey(signer)
	return s, nil
}

// Serve serves connections of l until ctx ends, then closes l and all
// connections, kills what they run, and returns nil when nothing is left. It
// returns early, after the same cleanup, if l fails.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()

	for {
		select {
		case s.conns <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := l.Accept()
		if err != nil {
			<-s.conns
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept: %w", err)
		}
		wg.Go(func() {
			defer func() { <-s.conns }()
			if err := s.serveConn(ctx, c); err != nil && ctx.Err() == nil {
				s.cfg.Log.Warn("connection failed", "peer", c.RemoteAddr(), "err", err)
			}
		})
	}
}

// serveConn owns c. It returns when the connection has ended and nothing that
// it started is left.
func (s *Server) serveConn(ctx context.Context, c net.Conn) error {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()

	if err := c.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	conn, channels, requests, err := ssh.NewServerConn(c, s.ssh)
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	defer conn.Close()
	if err := c.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}

	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { ssh.DiscardRequests(requests) })
	for nc := range channels {
		s.open(ctx, &wg, nc)
	}
	return nil
}

// open accepts or rejects one channel.
func (s *Server) open(ctx context.Context, wg *sync.WaitGroup, nc ssh.NewChannel) {
	if nc.ChannelType() != "session" {
		s.reject(nc, ssh.UnknownChannelType, "only sessions are served")
		return
	}
	select {
	case s.sessions <- struct{}{}:
	default:
		s.reject(nc, ssh.ResourceShortage, "too many sessions")
		return
	}
	ch, requests, err := nc.Accept()
	if err != nil {
		<-s.sessions
		s.cfg.Log.Warn("accept session", "err", err)
		return
	}
	wg.Go(func() {
		defer func() { <-s.sessions }()
		newSession(&s.cfg, ch).serve(ctx, requests)
	})
}

func (s *Server) reject(nc ssh.NewChannel, reason ssh.RejectionReason, text string) {
	if err := nc.Reject(reason, text); err != nil && !errors.Is(err, net.ErrClosed) {
		s.cfg.Log.Warn("reject channel", "type", nc.ChannelType(), "err", err)
	}
}
