// Package wire has the messages between nitro-cli and the processes that look
// after enclaves, over unix sockets. It is the protocol of AWS's nitro-cli 1.5
// (src/common/mod.rs, enclave_proc/connection.rs), so that either nitro-cli
// finds, describes and terminates enclaves of the other.
//
// A connection carries one command. The client sends the command twice, then its
// arguments if it takes some; each is a length in 8 bytes, little endian, and as
// many bytes of CBOR. The server answers as [Command] says, and closes.
//
// What comes over a socket is taken as hostile: lengths are bounded, and memory
// is taken as bytes arrive.
package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// Bounds of single messages, in bytes of CBOR.
const (
	MaxCommand = 64
	MaxArgs    = 64 << 10
	// MaxReply has room for the metadata of an image, of which images/eif loads
	// 4 MiB.
	MaxReply = 16 << 20
)

// Confirm is sent before the replies to a command that a client sends to all
// processes, which tells it that the process is alive (MSG_ENCLAVE_CONFIRM).
const Confirm uint64 = 0xEEC0

// ErrProtocol says that the peer does not speak the protocol.
var ErrProtocol = errors.New("not nitro-cli's protocol")

var decMode = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  4,
		MaxArrayElements: 4096, // CPUs
		MaxMapPairs:      64,
	}.DecMode()
	if err != nil {
		panic(err) // constants above
	}
	return mode
}()

// writeFrame writes one message.
func writeFrame(w io.Writer, v any) error {
	body, err := cbor.Marshal(v)
	if err != nil {
		return err
	}
	frame := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(body)), uint64(len(body)))
	_, err = w.Write(append(frame, body...))
	return err
}

// readFrame reads one message of at most limit bytes into v.
func readFrame(r io.Reader, limit int64, v any) error {
	size, err := ReadUint64(r)
	if err != nil {
		return err
	}
	if size == 0 || size > uint64(limit) {
		return fmt.Errorf("%w: message of %d bytes, allowed are 1 to %d", ErrProtocol, size, limit)
	}
	var body bytes.Buffer
	if n, err := io.CopyN(&body, r, int64(size)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("message of %d bytes ends after %d: %w", size, n, err)
	}
	if err := decMode.Unmarshal(body.Bytes(), v); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return nil
}

// ReadUint64 reads 8 bytes, little endian. The end before the first byte is
// [io.EOF].
func ReadUint64(r io.Reader) (uint64, error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

// WriteUint64 writes 8 bytes, little endian.
func WriteUint64(w io.Writer, v uint64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	_, err := w.Write(b[:])
	return err
}
