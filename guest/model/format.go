package model

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The file format, little-endian throughout:
//
//	8 bytes  magic, the last of which is the version
//	6 x 4    vocabulary, context, layers, width, heads, hidden width
//	n x 4    weights, IEEE 754 binary32, in the order of [Params]
//	32       SHA-256 of all the above
//
// The sum finds damage; it keeps nobody from changing a file. Secrecy and
// authenticity are the business of package sealed.
const (
	magic      = "nlmodel\x01"
	headerSize = len(magic) + 6*4
	sumSize    = sha256.Size
)

// MaxFile is the size of the largest file that [Load] accepts.
const MaxFile = headerSize + 4*MaxParams + sumSize

// ErrFormat means that bytes are no model file, or a damaged one.
var ErrFormat = errors.New("not a model file")

// Load reads a model from the bytes of a file, which it copies. Errors match
// [ErrFormat] or [ErrShape].
//
// Time and memory are linear in the size of the file, whatever it says.
func Load(file []byte) (*Model, error) {
	if len(file) < headerSize+sumSize || string(file[:len(magic)]) != magic {
		return nil, fmt.Errorf("load model: %w: it does not begin with the name of the format, version 1", ErrFormat)
	}
	if len(file) > MaxFile {
		return nil, fmt.Errorf("load model: %w: %d bytes, allowed are %d", ErrFormat, len(file), MaxFile)
	}
	body, sum := file[:len(file)-sumSize], file[len(file)-sumSize:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return nil, fmt.Errorf("load model: %w: its checksum does not hold", ErrFormat)
	}
	var member [6]int
	for i := range member {
		v := binary.LittleEndian.Uint32(body[len(magic)+4*i:])
		if v > math.MaxInt32 {
			return nil, fmt.Errorf("load model: %w: member %d is %d", ErrShape, i, v)
		}
		member[i] = int(v)
	}
	s := Shape{member[0], member[1], member[2], member[3], member[4], member[5]}
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("load model: %w", err)
	}
	body = body[headerSize:]
	if len(body) != 4*s.Params() {
		return nil, fmt.Errorf("load model: %w: %d bytes of weights, its shape has %d", ErrFormat, len(body), 4*s.Params())
	}
	flat := make([]float32, s.Params())
	for i := range flat {
		bits := binary.LittleEndian.Uint32(body[4*i:])
		if bits>>23&0xff == 0xff {
			return nil, fmt.Errorf("load model: %w: weight %d is not a finite number", ErrFormat, i)
		}
		flat[i] = math.Float32frombits(bits)
	}
	m, err := New(paramsOf(s, flat))
	if err != nil {
		return nil, fmt.Errorf("load model: %w", err)
	}
	return m, nil
}

// Encode is the file of weights p.
func Encode(p *Params) []byte {
	s := p.Shape
	file := make([]byte, 0, headerSize+4*len(p.Flat)+sumSize)
	file = append(file, magic...)
	for _, v := range []int{s.Vocab, s.Context, s.Layers, s.Width, s.Heads, s.Hidden} {
		file = binary.LittleEndian.AppendUint32(file, uint32(v))
	}
	for _, v := range p.Flat {
		file = binary.LittleEndian.AppendUint32(file, math.Float32bits(v))
	}
	sum := sha256.Sum256(file)
	return append(file, sum[:]...)
}
