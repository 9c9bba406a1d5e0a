package run

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nitrolab/nitrolab/emulator/guard"
	"github.com/nitrolab/nitrolab/emulator/vectors"
)

// A starter starts the verifier once per case.
type starter struct {
	*runner
	worker int
}

func (s *starter) close() {}

func (s *starter) ask(ctx context.Context, corpus *vectors.Corpus, c vectors.Case) (Outcome, string, error) {
	roots, err := s.files.roots(corpus, c, s.worker)
	if err != nil {
		return "", "", err
	}
	document := ""
	if uses(s.Command, "document") {
		if document, err = s.files.document(corpus, c, s.worker); err != nil {
			return "", "", err
		}
	}
	told := told(c, roots, document, s.ShowID)
	var stdout, stderr words
	p, err := guard.Start(ctx, guard.Config{
		Path:   s.Command[0],
		Args:   expand(s.Command[1:], told),
		Env:    environment(os.Environ(), told),
		Stdin:  bytes.NewReader(corpus.Bytes(c)),
		Stdout: &stdout,
		Stderr: &stderr,
	})
	if err != nil {
		return "", "", err
	}
	ended, err := awaitEnd(ctx, p, s.Timeout)
	if err != nil {
		return "", "", err
	}
	said := last(stderr.String())
	if said == "" {
		said = last(stdout.String())
	}
	if !ended {
		return Hung, detail(fmt.Sprintf("no verdict in %v", s.Timeout), said), nil
	}
	status, err := p.Wait()
	if err != nil {
		return "", "", err
	}
	outcome, why := verdict(status, stderr.String())
	return outcome, detail(why, said), nil
}

// awaitEnd waits for the end of p, and ends it if it takes longer than it may or
// if ctx ends, which is the error.
func awaitEnd(ctx context.Context, p *guard.Process, timeout time.Duration) (ended bool, err error) {
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	select {
	case <-p.Done():
		return true, nil
	case <-limit.C:
		return false, p.Close()
	case <-ctx.Done():
		_ = p.Close()
		return false, ctx.Err()
	}
}

// crashes are signals that end a program which did something wrong, and SIGKILL,
// by which the kernel ends one that wants too much memory.
var crashes = []syscall.Signal{
	syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGILL, syscall.SIGFPE, syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGKILL,
	syscall.SIGXCPU, syscall.SIGXFSZ,
}

// Exit statuses that are no verdict.
const (
	goPanic       = 2   // beside the panic's text
	rustPanic     = 101 // std::rt
	notExecutable = 126 // POSIX shell, 2.8.2
	notFound      = 127 // likewise
	signalled     = 128 // and the signal's number, likewise
)

// verdict reads an exit status. Why says what is not plain from the outcome.
func verdict(s guard.Status, stderr string) (o Outcome, why string) {
	if sig := s.Signal(); sig != 0 {
		return Crashed, s.String()
	}
	switch code := s.Code(); {
	case code == 0:
		return Accepted, ""
	case code == rustPanic,
		code == goPanic && slices.ContainsFunc(strings.Split(stderr, "\n"), goPanicked),
		code == notExecutable, code == notFound:
		return Crashed, s.String()
	case code > signalled && slices.Contains(crashes, syscall.Signal(code-signalled)):
		return Crashed, fmt.Sprintf("%v, a shell's for %v", s, syscall.Signal(code-signalled))
	}
	return Rejected, ""
}

// detail joins what we know and what the verifier said.
func detail(why, said string) string {
	if why == "" || said == "" {
		return why + said
	}
	return why + ": " + said
}
