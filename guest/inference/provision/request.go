package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/guest/inference/internal/field"
	"github.com/nitrolab/nitrolab/guest/inference/internal/text"
)

// ErrRequest means that bytes are no request.
var ErrRequest = errors.New("malformed request to provision")

// Credentials of the parent's role, as its metadata service gives them. They do
// not print.
type Credentials struct {
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
	SessionToken    string `json:"session_token"`
}

// String, GoString and LogValue keep secrets out of logs.
func (c Credentials) String() string       { return "credentials" }
func (c Credentials) GoString() string     { return "provision.Credentials{}" }
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Format does it for every verb of package fmt.
func (c Credentials) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// A Request has everything to become ready.
type Request struct {
	Credentials Credentials `json:"credentials"`

	// Weights are a sealed file.
	Weights []byte `json:"-"`

	// Weaken names a protection to switch off. The product's program refuses a
	// request that has it: only guest/cmd/weakinference, another image with other
	// measurements, knows what it means.
	Weaken weaken.Protection `json:"weaken,omitempty"`
}

// WriteRequest sends r.
func WriteRequest(w io.Writer, r Request) error {
	if len(r.Weights) == 0 || len(r.Weights) > MaxWeights {
		return fmt.Errorf("write request to provision: %d bytes of weights, allowed are 1 to %d", len(r.Weights), MaxWeights)
	}
	head, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write request to provision: %w", err)
	}
	defer clear(head)
	if len(head) > MaxHead {
		return fmt.Errorf("write request to provision: credentials are too long: %d bytes, allowed are %d", len(head), MaxHead)
	}
	for _, part := range [][]byte{head, r.Weights} {
		if err := field.Write(w, part); err != nil {
			return fmt.Errorf("write request to provision: %w", err)
		}
	}
	return nil
}

// ReadRequest reads a request. Errors that are about what was sent match
// [ErrRequest]; io.EOF says that the stream ended before it began. Errors quote
// nothing of the request.
func ReadRequest(r io.Reader) (Request, error) {
	head, err := field.Read(r, MaxHead)
	if err != nil {
		return Request{}, readError("credentials", err)
	}
	defer clear(head)
	var q Request
	if err := text.Decode(head, &q); err != nil {
		return Request{}, fmt.Errorf("read request to provision: %w: its first part: %w", ErrRequest, err)
	}
	c := q.Credentials
	if c.AccessKeyID == "" || c.SecretAccessKey == "" {
		return Request{}, fmt.Errorf("read request to provision: %w: credentials without access_key_id or secret_access_key", ErrRequest)
	}
	if q.Weights, err = field.Read(r, MaxWeights); err != nil {
		return Request{}, readError("weights", err)
	}
	return q, nil
}

func readError(what string, err error) error {
	if err == io.EOF && what == "credentials" {
		return io.EOF
	}
	if errors.Is(err, field.ErrLength) {
		return fmt.Errorf("read request to provision: %w: %s: %w", ErrRequest, what, err)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read request to provision: %s: %w", what, err)
}
