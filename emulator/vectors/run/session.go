package run

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nitrolab/nitrolab/emulator/guard"
	"github.com/nitrolab/nitrolab/emulator/vectors"
	"github.com/nitrolab/nitrolab/emulator/vectors/run/protocol"
)

// A session asks one verifier process about one case after another. One that has
// crashed, hung or talked nonsense is replaced for the next case.
type session struct {
	*runner
	p  *pipe // nil if none runs
	id int
}

// A pipe is a running verifier.
type pipe struct {
	*guard.Process
	in      *os.File // requests; we write
	out     *os.File // replies; we read
	replies *bufio.Reader
	stderr  *words
}

// lastWish is how long a verifier that has closed its output may take to end.
// Some print a long trace.
const lastWish = 2 * time.Second

func (s *session) ask(ctx context.Context, corpus *vectors.Corpus, c vectors.Case) (Outcome, string, error) {
	s.id++
	q := protocol.RequestOf(s.id, corpus, c)
	if s.ShowID {
		q.Case = c.ID
	}
	line, err := q.Line()
	if err != nil {
		return "", "", fmt.Errorf("case %s: %w", c.ID, err)
	}
	if s.p == nil {
		if s.p, err = s.start(ctx); err != nil {
			return "", "", err
		}
	}
	reply, err := s.p.exchange(ctx, line, s.Timeout)
	if err == nil {
		var r protocol.Reply
		if r, err = protocol.ParseReply(reply, s.id); err == nil {
			s.deaths.answered()
			return Outcome(r.Verdict), clean(r.Reason), nil
		}
	}
	if ctx.Err() != nil {
		s.p.end(0)
		s.p = nil
		return "", "", ctx.Err()
	}
	outcome, why := s.post(err)
	return outcome, why, s.deaths.died(why)
}

// post ends the verifier and says what was wrong with it.
func (s *session) post(err error) (Outcome, string) {
	p := s.p
	s.p = nil
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.end(0)
		return Hung, detail(fmt.Sprintf("no reply in %v", s.Timeout), last(p.stderr.String()))
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errGone) {
		status, known := p.end(lastWish)
		why := "it closed its output"
		if known {
			why = "it ended, " + status.String()
		}
		return Crashed, detail(why, last(p.stderr.String()))
	}
	p.end(0)
	return Crashed, detail(clean(err.Error()), last(p.stderr.String()))
}

// close ends the verifier by the end of its input, as the protocol says, and by
// force if that is not enough.
func (s *session) close() {
	if s.p != nil {
		_ = s.p.in.Close()
		s.p.end(lastWish)
		s.p = nil
	}
}

func (s *session) start(ctx context.Context) (_ *pipe, err error) {
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	out, stdout, err := os.Pipe()
	if err != nil {
		_ = in.Close()
		return nil, err
	}
	defer stdout.Close()
	p := &pipe{in: in, out: out, replies: bufio.NewReaderSize(out, protocol.MaxReply+2), stderr: &words{}}
	p.Process, err = guard.Start(ctx, guard.Config{
		Path: s.Command[0], Args: s.Command[1:],
		Stdin: stdin, Stdout: stdout, Stderr: p.stderr,
	})
	if err != nil {
		_, _ = in.Close(), out.Close()
		return nil, err
	}
	return p, nil
}

// errGone says that nobody reads requests any more.
var errGone = errors.New("the verifier does not read its input")

// exchange writes a request and reads a line. Deadlines rather than goroutines
// bound it: neither end of a pipe can be made to block for longer.
func (p *pipe) exchange(ctx context.Context, line []byte, timeout time.Duration) ([]byte, error) {
	until := time.Now().Add(timeout)
	if err := errors.Join(p.in.SetWriteDeadline(until), p.out.SetReadDeadline(until)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		_ = p.in.SetWriteDeadline(time.Unix(1, 0))
		_ = p.out.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()
	if _, err := p.in.Write(line); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
		return nil, errGone
	}
	reply, err := p.replies.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("reply has more than %d bytes", protocol.MaxReply)
	case err != nil:
		return nil, err
	}
	return reply, nil
}

// end waits for the end of the verifier, ends it after that time, and gives its
// status if it ended by itself.
func (p *pipe) end(wait time.Duration) (status guard.Status, known bool) {
	ended, err := awaitEnd(context.Background(), p.Process, wait)
	_, _ = p.in.Close(), p.out.Close()
	if !ended || err != nil {
		return status, false
	}
	status, err = p.Wait()
	return status, err == nil
}
