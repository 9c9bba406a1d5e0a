package protocol

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/nitrolab/nitrolab/emulator/vectors"
)

// Serve is the verifier's side: it reads requests from r until its end, asks
// verify about each, and writes the reply to w. An error of verify refuses the
// document and is the reason; nil accepts it.
//
// Serve returns nil at the end of r. A line that is no request, or an error of r
// or w, ends it with an error. A panic of verify is not caught: it is a finding,
// which the runner counts.
func Serve(r io.Reader, w io.Writer, verify func(Request) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), MaxRequest+len("\r\n"))
	for lines.Scan() {
		q, err := ParseRequest(lines.Bytes())
		if err != nil {
			return err
		}
		reply := Reply{ID: q.ID, Verdict: vectors.Accept}
		if err := verify(q); err != nil {
			reply.Verdict, reply.Reason = vectors.Reject, err.Error()
		}
		b, err := reply.Line()
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return fmt.Errorf("reply %d: %w", q.ID, err)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("request has more than %d bytes", MaxRequest)
	case err != nil:
		return fmt.Errorf("request: %w", err)
	}
	return nil
}
