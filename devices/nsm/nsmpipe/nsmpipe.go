// Package nsmpipe carries raw NSM requests over one byte stream, so that a test
// outside a guest can drive the driver inside it: `nsm serve` of guest/cmd/nsm
// answers on its standard output what it reads on its standard input.
//
// Both directions are frames of a length in four bytes, big-endian, and as many
// bytes. In a request they are the bytes for the driver. In a reply the first
// byte is the status: 0, the module's reply follows; 1, the driver refused the
// request and its errno follows in four bytes, big-endian. Requests are answered
// one by one, in order.
//
// The stream must be transparent: a terminal in cooked mode is not.
package nsmpipe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// MaxRequest is the longest request in bytes. It is far more than a driver
// takes, because what drivers refuse is to be tested too.
const MaxRequest = 64 << 10

// maxReply is the longest reply frame: the status and the longest NSM reply.
const maxReply = 1 + wire.MaxResponse

// Status bytes of a reply.
const (
	statusReply = 0
	statusErrno = 1

	errnoReply = 1 + 4 // bytes of a reply with an errno
)

// ErrFrame is the error of a stream that does not follow the format. The stream
// is of no use any more.
var ErrFrame = errors.New("malformed frame on nsm pipe")

// readFrame reads one frame of least to most bytes into buf, which grows at
// most to most bytes. The error is io.EOF if the stream ended before the frame.
func readFrame(r io.Reader, buf []byte, least, most int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: stream ends in a length", ErrFrame)
		}
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if uint64(n) < uint64(least) || uint64(n) > uint64(most) {
		return nil, fmt.Errorf("%w: length %d, want %d to %d", ErrFrame, n, least, most)
	}
	if cap(buf) < int(n) {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: stream ends in a frame of %d bytes", ErrFrame, n)
		}
		return nil, err
	}
	return buf, nil
}

// appendReply appends the frame with the module's reply, or with errno if it is
// not 0.
func appendReply(dst, reply []byte, errno syscall.Errno) []byte {
	if errno != 0 {
		dst = binary.BigEndian.AppendUint32(dst, errnoReply)
		return binary.BigEndian.AppendUint32(append(dst, statusErrno), uint32(errno))
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(1+len(reply)))
	return append(append(dst, statusReply), reply...)
}

// parseReply splits a reply frame's content.
func parseReply(b []byte) (reply []byte, errno syscall.Errno, err error) {
	switch {
	case b[0] == statusReply:
		return b[1:], 0, nil
	case b[0] == statusErrno && len(b) == errnoReply:
		if e := binary.BigEndian.Uint32(b[1:]); e != 0 {
			return nil, syscall.Errno(e), nil
		}
	}
	return nil, 0, fmt.Errorf("%w: status %d in %d bytes", ErrFrame, b[0], len(b))
}
