package nsmpipe

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// Serve answers the requests on r, on w, with what do makes of them, until r
// ends; then it returns nil. A [syscall.Errno] in do's error goes to the peer;
// any other error ends Serve, as do a malformed frame, which is [ErrFrame], and a
// stream that fails. Each reply is one Write.
//
// do does not keep the request; the caller of Serve closes the streams.
func Serve(r io.Reader, w io.Writer, do func(req []byte) ([]byte, error)) error {
	var in, out []byte
	for {
		req, err := readFrame(r, in, 0, MaxRequest)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		in = req
		reply, err := do(req)
		errno := syscall.Errno(0)
		if err != nil && (!errors.As(err, &errno) || errno == 0) {
			return err
		}
		if len(reply) > wire.MaxResponse {
			return fmt.Errorf("reply of %d bytes, limit %d", len(reply), wire.MaxResponse)
		}
		out = appendReply(out[:0], reply, errno)
		if _, err := w.Write(out); err != nil {
			return fmt.Errorf("write reply: %w", err)
		}
	}
}
