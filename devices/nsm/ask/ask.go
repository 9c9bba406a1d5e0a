// Package ask is the wire format of the sample enclave application
// (guest/cmd/attest): over a stream, usually vsock port 5005 of the enclave,
// a client asks for an attestation document over a nonce of its choice.
//
//	question   uint32 length, 0 to 512      nonce
//	answer     uint32 length, 1 to 12288    attestation document (COSE_Sign1)
//	or         uint32 0, uint32 length      text that says why there is none
//
// Integers are big-endian. Questions and answers alternate until the client
// closes the stream; the server closes it after a question it cannot read.
package ask

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of the fields, in bytes.
const (
	MaxNonce    = 512    // NSM API: nonce of an Attestation request
	MaxDocument = 0x3000 // NSM_RESPONSE_MAX_SIZE of drivers/misc/nsm.c
	MaxReason   = 1024
)

// RefusedError is the answer of an enclave that made no document.
type RefusedError struct {
	Reason string // as the enclave sent it, printable characters only
}

// Error implements error.
func (e *RefusedError) Error() string { return "enclave made no document: " + e.Reason }

// ErrTooLong says that the other side announced, or the caller passed, more
// than a field can hold.
var ErrTooLong = errors.New("field too long")

// Ask sends nonce and returns the document. The caller bounds the time by a
// deadline of the connection, and checks the document: nothing here does.
func Ask(rw io.ReadWriter, nonce []byte) (document []byte, err error) {
	if err := WriteQuestion(rw, nonce); err != nil {
		return nil, err
	}
	return ReadAnswer(rw)
}

// WriteQuestion sends a question, in one write.
func WriteQuestion(w io.Writer, nonce []byte) error {
	if len(nonce) > MaxNonce {
		return fmt.Errorf("write question: nonce of %d bytes: %w", len(nonce), ErrTooLong)
	}
	return write(w, "question", field(nil, nonce))
}

// ReadQuestion returns the nonce of the next question. The error is io.EOF if
// the stream ended before one began.
func ReadQuestion(r io.Reader) (nonce []byte, err error) {
	n, err := readLength(r)
	if err == io.EOF {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("read question: %w", err)
	}
	nonce, err = readField(r, n, MaxNonce)
	if err != nil {
		return nil, fmt.Errorf("read question: nonce: %w", err)
	}
	return nonce, nil
}

// WriteAnswer sends a document.
func WriteAnswer(w io.Writer, document []byte) error {
	if len(document) == 0 {
		return errors.New("write answer: empty document")
	}
	if len(document) > MaxDocument {
		return fmt.Errorf("write answer: document of %d bytes: %w", len(document), ErrTooLong)
	}
	return write(w, "answer", field(nil, document))
}

// WriteRefusal sends the reason why there is no document, cut to MaxReason.
func WriteRefusal(w io.Writer, reason string) error {
	if len(reason) > MaxReason {
		reason = reason[:MaxReason]
	}
	return write(w, "refusal", field(make([]byte, 4, 8+len(reason)), []byte(reason)))
}

// ReadAnswer returns the document of the next answer, or a *RefusedError.
func ReadAnswer(r io.Reader) (document []byte, err error) {
	n, err := readLength(r)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", noEOF(err))
	}
	if n > 0 {
		document, err = readField(r, n, MaxDocument)
		if err != nil {
			return nil, fmt.Errorf("read answer: document: %w", err)
		}
		return document, nil
	}
	if n, err = readLength(r); err != nil {
		return nil, fmt.Errorf("read answer: %w", noEOF(err))
	}
	reason, err := readField(r, n, MaxReason)
	if err != nil {
		return nil, fmt.Errorf("read answer: reason: %w", err)
	}
	return nil, &RefusedError{Reason: printable(string(reason))}
}

func field(b, content []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(content)))
	return append(b, content...)
}

func write(w io.Writer, what string, b []byte) error {
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write %s: %w", what, err)
	}
	return nil
}

// readLength returns io.EOF only if nothing at all could be read.
func readLength(r io.Reader) (uint32, error) {
	var b [4]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b[:]), nil
}

func readField(r io.Reader, n, limit uint32) ([]byte, error) {
	if n > limit {
		return nil, fmt.Errorf("%d bytes announced, at most %d are possible: %w", n, limit, ErrTooLong)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, noEOF(err)
	}
	return b, nil
}

// noEOF turns the end of a stream in the middle of a message into an error
// that is not mistaken for a regular end.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// printable keeps a terminal safe from what an enclave sends.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\ufffd' {
			return '?'
		}
		return r
	}, s)
}
