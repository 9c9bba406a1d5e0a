package guestagent

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/term"
)

// Shell gives the caller's standard streams a login shell in the guest, until it
// ends. If standard input is a terminal the shell has one too, of the same size
// and type; else it reads commands and writes as into a pipe.
func (c *Client) Shell(ctx context.Context, stdin, stdout, stderr *os.File) error {
	session, err := c.session()
	if err != nil {
		return fmt.Errorf("shell in guest: %w", err)
	}
	defer session.Close()
	session.Stdin, session.Stdout, session.Stderr = stdin, stdout, stderr
	if term.IsTerminal(int(stdin.Fd())) {
		restore, err := terminal(session, stdin, stdout)
		if err != nil {
			return fmt.Errorf("shell in guest: %w", err)
		}
		defer restore()
	}
	return c.wait(ctx, session, session.Shell)
}

// terminal gives the session a terminal like ours and makes ours raw.
func terminal(session *ssh.Session, stdin, stdout *os.File) (restore func(), err error) {
	width, height, err := term.GetSize(int(stdout.Fd()))
	if err != nil {
		width, height = 80, 24 // output goes into a file
	}
	kind := os.Getenv("TERM")
	if kind == "" {
		kind = "vt100"
	}
	if err := session.RequestPty(kind, height, width, ssh.TerminalModes{}); err != nil {
		return nil, err
	}
	state, err := term.MakeRaw(int(stdin.Fd()))
	if err != nil {
		return nil, err
	}
	sizes := make(chan os.Signal, 1)
	signal.Notify(sizes, syscall.SIGWINCH)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range sizes {
			if w, h, err := term.GetSize(int(stdout.Fd())); err == nil {
				_ = session.WindowChange(h, w)
			}
		}
	}()
	return func() {
		signal.Stop(sizes)
		close(sizes)
		<-done
		_ = term.Restore(int(stdin.Fd()), state)
	}, nil
}
