package nsmpipe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// A Client sends requests to a Serve at the other end of a stream. It is safe
// for concurrent use; requests take turns.
//
// It waits as long as the stream does: the owner of the stream sets a deadline
// on it or closes it, which makes the request under way fail.
type Client struct {
	mu      sync.Mutex
	r       io.Reader
	w       io.Writer
	in, out []byte
	err     error // first failure of the stream; replies would no longer match
}

// NewClient returns a client that writes requests to w and reads replies from r.
func NewClient(r io.Reader, w io.Writer) *Client { return &Client{r: r, w: w} }

// Raw sends one request and returns the reply. The driver's refusal is a
// [syscall.Errno]. Any other error but that of a request longer than MaxRequest
// ends the client: every later call returns it.
func (c *Client) Raw(req []byte) ([]byte, error) {
	if len(req) > MaxRequest {
		return nil, fmt.Errorf("nsm request of %d bytes: the pipe takes %d", len(req), MaxRequest)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	frame, err := c.exchange(req)
	if err == nil {
		reply, errno, perr := parseReply(frame)
		if errno != 0 {
			return nil, errno
		}
		if perr == nil {
			return slices.Clone(reply), nil
		}
		err = perr
	}
	c.err = fmt.Errorf("nsm pipe: %w", err)
	return nil, c.err
}

// exchange writes one frame and reads one.
func (c *Client) exchange(req []byte) ([]byte, error) {
	c.out = append(binary.BigEndian.AppendUint32(c.out[:0], uint32(len(req))), req...)
	if _, err := c.w.Write(c.out); err != nil {
		return nil, err
	}
	frame, err := readFrame(c.r, c.in, 1, maxReply)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // a reply is owed
	}
	if err != nil {
		return nil, err
	}
	c.in = frame
	return frame, nil
}
