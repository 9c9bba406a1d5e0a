package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/nitrolab/nitrolab/guest/inference/internal/field"
	"github.com/nitrolab/nitrolab/guest/inference/internal/text"
)

// A Code says why an enclave did not become ready.
type Code string

// The codes. Those of the key service's refusals are apart from those of its
// absence: the first are final, the others may pass.
const (
	CodeRequest     Code = "request"     // not a request, or one that this image does not take
	CodeWeights     Code = "weights"     // the sealed file is malformed, does not open, or holds no model
	CodeKey         Code = "key"         // the file or the answer names another key than the image does
	CodeContext     Code = "context"     // another encryption context than the image's
	CodeDenied      Code = "denied"      // the key policy does not allow it to this enclave
	CodeCredentials Code = "credentials" // not accepted by the key service
	CodeRefused     Code = "refused"     // refused by the key service for another reason
	CodeThrottled   Code = "throttled"   // all attempts were
	CodeUnavailable Code = "unavailable" // no key service, or only server errors
	CodeTimeout     Code = "timeout"     // no answer in time
	CodeCertificate Code = "certificate" // who answers is not the key service
	CodePlaintext   Code = "plaintext"   // the key came unsealed, and was not used
	CodeAnswer      Code = "answer"      // the answer was not sealed to this enclave, or is malformed
	CodeInternal    Code = "internal"    // the enclave itself failed
)

// A Reply says what became of a request.
type Reply struct {
	// Model is the name in the sealed file; empty if there is an error.
	Model string `json:"model,omitempty"`
	Error *Error `json:"error,omitempty"`
}

// An Error is why an enclave did not become ready, in its own words, which hold no
// secret. What it was before, it still is.
type Error struct {
	Code Code   `json:"code"`
	Text string `json:"text"`
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("enclave refused: %s (%s)", e.Text, e.Code) }

// maxText bounds the text of an error, in bytes. JSON may write each of them as six,
// and still the reply has to fit.
const maxText = 1 << 10

// WriteReply sends r, with the text of an error cut to 1 KiB.
func WriteReply(w io.Writer, r Reply) error {
	if r.Error != nil && len(r.Error.Text) > maxText {
		r.Error = &Error{Code: r.Error.Code, Text: strings.ToValidUTF8(r.Error.Text[:maxText], "")}
	}
	b, err := json.Marshal(r)
	if err == nil {
		err = field.Write(w, b)
	}
	if err != nil {
		return fmt.Errorf("write reply: %w", err)
	}
	return nil
}

// ReadReply returns the name of the model, or the *[Error] of the reply.
func ReadReply(r io.Reader) (model string, err error) {
	b, err := field.Read(r, MaxReply)
	if err != nil {
		return "", fmt.Errorf("read reply of the enclave: %w", err)
	}
	var reply Reply
	if err := text.Decode(b, &reply); err != nil {
		return "", fmt.Errorf("read reply of the enclave: %w", err)
	}
	if e := reply.Error; e != nil {
		return "", &Error{Code: Code(text.Printable(string(e.Code))), Text: text.Printable(e.Text)}
	}
	return text.Printable(reply.Model), nil
}

// Send sends r over conn, of which it is the only use, waits for the reply and
// closes conn. It ends when ctx does. An *[Error] is the enclave's own.
func Send(ctx context.Context, conn net.Conn, r Request) (model string, err error) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err = WriteRequest(conn, r); err == nil {
		model, err = ReadReply(conn)
	}
	var refused *Error
	if err != nil && ctx.Err() != nil && !errors.As(err, &refused) {
		return "", fmt.Errorf("provision: %w", ctx.Err())
	}
	return model, err
}
