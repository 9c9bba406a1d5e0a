package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// KeySize is that of a data key: AES-256.
	KeySize = 32

	// ChunkSize is how much plaintext one chunk has.
	ChunkSize = 64 << 10

	// MaxPlaintext bounds what one file holds.
	MaxPlaintext = 32 << 20

	tagSize   = 16
	maxChunks = MaxPlaintext / ChunkSize
)

// MaxFile is the size of the largest file.
const MaxFile = preamble + maxHeader + MaxPlaintext + maxChunks*tagSize

// ErrKey means that a file does not open: the data key is another, or something
// in the file was changed. Which of them it is cannot be told.
var ErrKey = errors.New("the data key is not that of the file, or the file was changed")

// keyInfo tells this use of a data key from any other.
const keyInfo = "nitrolab sealed weights, version 1"

// Seal writes a file of h and plaintext to w, in one write for each chunk. The
// data key has [KeySize] bytes; the same one in h.WrappedKey is the caller's
// business.
func Seal(w io.Writer, dataKey []byte, h Header, plaintext []byte) error {
	if err := seal(w, dataKey, h, newSalt(), plaintext); err != nil {
		return fmt.Errorf("seal %q: %w", h.Name, err)
	}
	return nil
}

func seal(w io.Writer, dataKey []byte, h Header, salt, plaintext []byte) error {
	if err := h.check(); err != nil {
		return err
	}
	if len(dataKey) != KeySize {
		return fmt.Errorf("data key of %d bytes, allowed are %d", len(dataKey), KeySize)
	}
	if len(plaintext) > MaxPlaintext {
		return fmt.Errorf("plaintext of %d bytes, allowed are %d", len(plaintext), MaxPlaintext)
	}
	before, err := h.encode(salt)
	if err != nil {
		return fmt.Errorf("encode header: %w", err)
	}
	aead, err := fileCipher(dataKey, salt)
	if err != nil {
		return err
	}
	if _, err := w.Write(before); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	sum := sha256.Sum256(before)
	chunk := make([]byte, 0, ChunkSize+tagSize)
	for number := uint64(0); ; number++ {
		n := min(len(plaintext), ChunkSize)
		last := n == len(plaintext)
		chunk = aead.Seal(chunk[:0], nonce(number, last), plaintext[:n], sum[:])
		if _, err := w.Write(chunk); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		if last {
			return nil
		}
		plaintext = plaintext[n:]
	}
}

// Open returns the header and the plaintext of a whole file. Errors match
// [ErrFormat] or [ErrKey]; then there is no plaintext, and none is left in memory.
//
// Time and memory are linear in the size of the file.
func Open(dataKey, file []byte) (Header, []byte, error) {
	h, plaintext, err := open(dataKey, file)
	if err != nil {
		return Header{}, nil, fmt.Errorf("open sealed file: %w", err)
	}
	return h, plaintext, nil
}

func open(dataKey, file []byte) (Header, []byte, error) {
	h, before, chunks, err := split(file)
	if err != nil {
		return Header{}, nil, err
	}
	if len(dataKey) != KeySize {
		return Header{}, nil, fmt.Errorf("%w: it has %d bytes instead of %d", ErrKey, len(dataKey), KeySize)
	}
	aead, err := fileCipher(dataKey, before[preamble:preamble+saltSize])
	if err != nil {
		return Header{}, nil, err
	}
	sum := sha256.Sum256(before)
	plaintext, err := openChunks(aead, sum[:], chunks)
	if err != nil {
		return Header{}, nil, err
	}
	return h, plaintext, nil
}

// openChunks opens all chunks, with additional data sum, into one buffer.
func openChunks(aead cipher.AEAD, sum, chunks []byte) ([]byte, error) {
	const whole = ChunkSize + tagSize
	count := (len(chunks) + whole - 1) / whole
	size := len(chunks) - count*tagSize
	// A rest without room for a tag is refused before anything is opened: size
	// would be too small for the chunks before it, and the plaintext would move
	// and leave a copy behind.
	if rest := len(chunks) % whole; count == 0 || rest > 0 && rest < tagSize || size > MaxPlaintext {
		return nil, fmt.Errorf("%w: %d bytes of chunks", ErrFormat, len(chunks))
	}
	plaintext := make([]byte, 0, size)
	for number := range count {
		chunk := chunks[:min(whole, len(chunks))]
		chunks = chunks[len(chunk):]
		opened, err := aead.Open(plaintext, nonce(uint64(number), len(chunks) == 0), chunk, sum)
		// An empty chunk may only be the whole of the plaintext: else there would
		// be two files of one plaintext.
		if err != nil || len(opened) == len(plaintext) && count > 1 {
			clear(plaintext[:cap(plaintext)])
			return nil, ErrKey
		}
		plaintext = opened
	}
	return plaintext, nil
}

// fileCipher is the cipher of the file with this salt. Preconditions: dataKey has
// KeySize bytes.
func fileCipher(dataKey, salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, dataKey, salt, keyInfo, KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("aes: %w", err)
	}
	return cipher.NewGCM(block)
}

// nonce is unique for each chunk of a file.
func nonce(number uint64, last bool) []byte {
	n := make([]byte, 12)
	binary.BigEndian.PutUint64(n[3:], number)
	if last {
		n[11] = 1
	}
	return n
}
