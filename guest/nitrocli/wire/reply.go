package wire

import (
	"fmt"
	"io"
)

// A Reply is one of three things that a process says: text for the client's
// standard output, text for its standard error, or how it went.
type Reply struct {
	// Stdout and Stderr are "" in a reply of another kind. All text for standard
	// output together is one JSON value.
	Stdout, Stderr string
	// Status is nil in a reply of another kind; 0 is success, anything else an
	// errno.
	Status *int32
}

// wireReply is the form of serde: a map with one key, EnclaveProcessReply.
type wireReply struct {
	Stdout *string `cbor:"StdOutMessage,omitempty"`
	Stderr *string `cbor:"StdErrMessage,omitempty"`
	Status *int32  `cbor:"Status,omitempty"`
}

// WriteStdout sends text for standard output.
func WriteStdout(w io.Writer, text string) error {
	return writeReply(w, wireReply{Stdout: &text})
}

// WriteStderr sends text for standard error.
func WriteStderr(w io.Writer, text string) error {
	return writeReply(w, wireReply{Stderr: &text})
}

// WriteStatus sends how it went.
func WriteStatus(w io.Writer, status int32) error {
	return writeReply(w, wireReply{Status: &status})
}

func writeReply(w io.Writer, r wireReply) error {
	if err := writeFrame(w, r); err != nil {
		return fmt.Errorf("send reply: %w", err)
	}
	return nil
}

// ReadReply reads the next reply. After the last one it returns [io.EOF].
func ReadReply(r io.Reader) (Reply, error) {
	var in wireReply
	if err := readFrame(r, MaxReply, &in); err != nil {
		return Reply{}, err
	}
	var out Reply
	kinds := 0
	if in.Stdout != nil {
		out.Stdout = *in.Stdout
		kinds++
	}
	if in.Stderr != nil {
		out.Stderr = *in.Stderr
		kinds++
	}
	if in.Status != nil {
		out.Status = in.Status
		kinds++
	}
	if kinds != 1 {
		return Reply{}, fmt.Errorf("%w: a reply of %d kinds", ErrProtocol, kinds)
	}
	return out, nil
}
