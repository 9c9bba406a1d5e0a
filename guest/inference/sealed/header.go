package sealed

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
)

// Limits, in bytes unless said otherwise. Those of the wrapped key, the key id
// and the context are the key service's: CiphertextBlob, KeyId of Decrypt (AWS
// KMS API Reference), and 8 KiB for a context.
const (
	MaxName       = 255
	MaxKeyID      = 2048
	MaxWrappedKey = 6144
	MaxContext    = 8192 // names and values together
	MaxPairs      = 64   // pairs of a context

	maxHeader = saltSize + 4*2 + MaxName + MaxKeyID + MaxWrappedKey + MaxContext + 4*MaxPairs
)

const (
	magic    = "nlseal\x00\x01"
	saltSize = 32
	preamble = len(magic) + 4
)

// ErrFormat means that bytes are no sealed file.
var ErrFormat = errors.New("not a sealed file")

// A Header is what anyone can read of a file. Only [Open] says that it was not
// changed.
type Header struct {
	// Name of what is inside, such as that of a file.
	Name string

	// KeyID says which key wrapped the data key: the ARN of a key.
	KeyID string

	// WrappedKey is the data key, encrypted by the service; required.
	WrappedKey []byte

	// Context is the encryption context it was encrypted with.
	Context map[string]string
}

// check returns what is wrong with h, for whoever seals.
func (h Header) check() error {
	for _, m := range []struct {
		what      string
		size, max int
		text      string
	}{
		{"name", len(h.Name), MaxName, h.Name},
		{"key id", len(h.KeyID), MaxKeyID, h.KeyID},
		{"wrapped key", len(h.WrappedKey), MaxWrappedKey, ""},
		{"encryption context", contextSize(h.Context), MaxContext, ""},
	} {
		if m.size > m.max {
			return fmt.Errorf("%s: %d bytes, allowed are %d", m.what, m.size, m.max)
		}
		if !utf8.ValidString(m.text) {
			return fmt.Errorf("%s: not UTF-8", m.what)
		}
	}
	if len(h.WrappedKey) == 0 {
		return errors.New("wrapped key: empty")
	}
	if len(h.Context) > MaxPairs {
		return fmt.Errorf("encryption context: %d pairs, allowed are %d", len(h.Context), MaxPairs)
	}
	for k, v := range h.Context {
		if k == "" || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return errors.New("encryption context: a name is empty, or one is not UTF-8")
		}
	}
	return nil
}

func contextSize(c map[string]string) (n int) {
	for k, v := range c {
		n += len(k) + len(v)
	}
	return n
}

// encode gives everything that comes before the first chunk.
func (h Header) encode(salt []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddBytes([]byte(magic))
	b.AddUint32LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddBytes(salt)
		text(b, []byte(h.Name))
		text(b, []byte(h.KeyID))
		text(b, h.WrappedKey)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, k := range slices.Sorted(maps.Keys(h.Context)) {
				text(b, []byte(k))
				text(b, []byte(h.Context[k]))
			}
		})
	})
	return b.Bytes()
}

func text(b *cryptobyte.Builder, v []byte) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(v) })
}

// ReadHeader reads the header of a file, which may go on. Nothing in it is to be
// believed before [Open] succeeds; it is what the data key can be had with. The
// error is [ErrFormat].
func ReadHeader(file []byte) (Header, error) {
	h, _, _, err := split(file)
	if err != nil {
		return Header{}, fmt.Errorf("read header of sealed file: %w", err)
	}
	return h, nil
}

// split cuts a file into what comes before the first chunk and the chunks.
func split(file []byte) (h Header, before, chunks []byte, err error) {
	bad := func(why string) (Header, []byte, []byte, error) {
		return Header{}, nil, nil, fmt.Errorf("%w: %s", ErrFormat, why)
	}
	s := cryptobyte.String(file)
	var start []byte
	var size uint32
	if !s.ReadBytes(&start, len(magic)) || string(start) != magic || !s.ReadUint32(&size) {
		return bad("it does not begin with the name of the format, version 1")
	}
	if size > uint32(maxHeader) || int(size) > len(s) {
		return bad("its header is longer than allowed, or cut off")
	}
	before, chunks = file[:preamble+int(size)], file[preamble+int(size):]
	b := cryptobyte.String(before[preamble:])
	var name, keyID, wrapped, context cryptobyte.String
	if !b.Skip(saltSize) || !b.ReadUint16LengthPrefixed(&name) || !b.ReadUint16LengthPrefixed(&keyID) ||
		!b.ReadUint16LengthPrefixed(&wrapped) || !b.ReadUint16LengthPrefixed(&context) || !b.Empty() {
		return bad("its header is malformed")
	}
	h = Header{Name: string(name), KeyID: string(keyID), WrappedKey: slices.Clone(wrapped)}
	last := ""
	for !context.Empty() {
		var k, v cryptobyte.String
		if !context.ReadUint16LengthPrefixed(&k) || !context.ReadUint16LengthPrefixed(&v) || string(k) <= last {
			return bad("its encryption context is malformed or not sorted")
		}
		if h.Context == nil {
			h.Context = make(map[string]string)
		}
		last = string(k)
		h.Context[last] = string(v)
	}
	if err := h.check(); err != nil {
		return bad(err.Error())
	}
	return h, before, chunks, nil
}

// newSalt is fresh for every file.
func newSalt() []byte {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	return salt
}
