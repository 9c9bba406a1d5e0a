// Package completion is what a client and the enclave say to each other on an
// attested channel: one frame with a prompt, one with what the model makes of it,
// and so on until the client closes the session. Frames hold JSON.
package completion

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/nitrolab/nitrolab/guest/channel"
	"github.com/nitrolab/nitrolab/guest/inference/internal/text"
)

// MaxPrompt bounds a prompt, in bytes; that of a model is lower.
const MaxPrompt = 4 << 10

// MaxCharacters is the most that one request can ask for.
const MaxCharacters = 1 << 10

// A Request asks for a completion.
type Request struct {
	Prompt     string `json:"prompt"`
	Characters int    `json:"characters"` // 1 to MaxCharacters, at most so many
}

// A Response has it, or says why not.
type Response struct {
	Completion string `json:"completion"`
	Error      *Error `json:"error,omitempty"`
}

// A Code says why there is no completion.
type Code string

// The codes.
const (
	CodeRequest  Code = "request"  // malformed
	CodePrompt   Code = "prompt"   // not one that the model reads
	CodeNoModel  Code = "no model" // the parent has not provisioned the enclave yet
	CodeInternal Code = "internal"
)

// An Error is why there is no completion, in the enclave's words.
type Error struct {
	Code Code   `json:"code"`
	Text string `json:"text"`
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("enclave refused: %s (%s)", e.Text, e.Code) }

// Ask sends a prompt over c, and returns what a model makes of it, in at most n
// characters. An *[Error] is the enclave's own, and c can be asked again after it.
func Ask(ctx context.Context, c *channel.Conn, prompt string, n int) (string, error) {
	if len(prompt) > MaxPrompt {
		return "", fmt.Errorf("ask: prompt of %d bytes, allowed are %d", len(prompt), MaxPrompt)
	}
	frame, err := json.Marshal(Request{Prompt: prompt, Characters: n})
	if err != nil {
		return "", fmt.Errorf("ask: %w", err)
	}
	if err := c.Send(ctx, frame); err != nil {
		return "", fmt.Errorf("ask: %w", err)
	}
	if frame, err = c.Receive(ctx); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return "", fmt.Errorf("ask: %w", err)
	}
	return parseResponse(frame)
}

// parseResponse returns the completion, or the *[Error] of the response.
func parseResponse(frame []byte) (string, error) {
	var r Response
	if err := text.Decode(frame, &r); err != nil {
		return "", fmt.Errorf("ask: answer of the enclave: %w", err)
	}
	if r.Error != nil {
		return "", &Error{Code: Code(text.Printable(string(r.Error.Code))), Text: text.Printable(r.Error.Text)}
	}
	return r.Completion, nil
}

// ParseRequest reads the frame of a request. The error has code [CodeRequest].
func ParseRequest(frame []byte) (Request, *Error) {
	var r Request
	if err := text.Decode(frame, &r); err != nil {
		return Request{}, &Error{CodeRequest, err.Error()}
	}
	if len(r.Prompt) > MaxPrompt {
		return Request{}, &Error{CodeRequest, fmt.Sprintf("prompt of %d bytes, allowed are %d", len(r.Prompt), MaxPrompt)}
	}
	if r.Characters < 1 || r.Characters > MaxCharacters {
		return Request{}, &Error{CodeRequest, fmt.Sprintf("characters is %d, allowed are 1 to %d", r.Characters, MaxCharacters)}
	}
	return r, nil
}
