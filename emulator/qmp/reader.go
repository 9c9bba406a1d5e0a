package qmp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// errTooLarge ends a connection whose peer sends one message without an end.
var errTooLarge = errors.New("message exceeds the size limit")

// A message is any of the four things a server sends: greeting, reply, error
// reply, event (docs/interop/qmp-spec.rst, "Protocol Specification").
type message struct {
	QMP *struct {
		Version      json.RawMessage   `json:"version"`
		Capabilities []json.RawMessage `json:"capabilities"`
	} `json:"QMP"`

	ID     json.RawMessage `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`

	Event     string          `json:"event"`
	Data      json.RawMessage `json:"data"`
	Timestamp struct {
		Seconds      int64 `json:"seconds"`
		Microseconds int64 `json:"microseconds"`
	} `json:"timestamp"`
}

// A reader cuts the peer's stream into messages. It does not depend on line
// ends, because a server in pretty mode breaks lines inside messages; nor does
// it limit a line, because query-qmp-schema alone answers with 300 KiB. What it
// limits is one message, so that a broken peer cannot fill our memory.
type reader struct {
	budget budgetReader
	dec    *json.Decoder
	max    int64
}

func newReader(r io.Reader, maxMessage int64) *reader {
	rd := &reader{budget: budgetReader{r: r}, max: maxMessage}
	rd.dec = json.NewDecoder(&rd.budget)
	return rd
}

// next returns the next message. Its raw fields are copies. Errors are final:
// io.EOF at the end between messages, io.ErrUnexpectedEOF within one, an error
// wrapping [ErrProtocol] for anything that is no message.
func (r *reader) next() (*message, error) {
	// What the decoder read ahead already counted for an earlier message, so
	// one message never exceeds twice the limit.
	r.budget.left = r.max
	m := new(message)
	err := r.dec.Decode(m)
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case err == nil:
		return m, nil
	case errors.Is(err, errTooLarge):
		return nil, fmt.Errorf("%w: %w of %d bytes", ErrProtocol, errTooLarge, r.max)
	case errors.As(err, &syntax), errors.As(err, &typ):
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	default:
		return nil, err
	}
}

// A budgetReader fails once more than left bytes were asked of it.
type budgetReader struct {
	r    io.Reader
	left int64
}

func (b *budgetReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}
