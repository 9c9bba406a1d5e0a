package sealed

import (
	"bytes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

const wholeChunk = ChunkSize + tagSize

// parts cuts a good file into what comes before its chunks, and them.
func parts(t testing.TB, file []byte) (before []byte, chunks [][]byte) {
	t.Helper()
	_, before, rest, err := split(file)
	if err != nil {
		t.Fatal(err)
	}
	return before, slices.Collect(slices.Chunk(rest, wholeChunk))
}

func join(before []byte, chunks ...[]byte) []byte {
	return append(bytes.Clone(before), bytes.Join(chunks, nil)...)
}

// TestTamper: what can be made of good files without the data key does not open.
func TestTamper(t *testing.T) {
	file := sealedFile(t, testHeader, content(3*ChunkSize+100))
	before, c := parts(t, file)
	other := func(change func(*Header)) []byte { // before of another header with the same salt
		h := testHeader
		change(&h)
		b, err := h.encode(testSalt)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	zeros := sealedFile(t, testHeader, make([]byte, 3*ChunkSize+100)) // of the same key and salt
	_, z := parts(t, zeros)
	whole := sealedFile(t, testHeader, content(3*ChunkSize))
	_, w := parts(t, whole)
	var fresh bytes.Buffer
	if err := Seal(&fresh, testKey, testHeader, content(3*ChunkSize+100)); err != nil {
		t.Fatal(err)
	}
	freshBefore, f := parts(t, fresh.Bytes())
	aead, err := fileCipher(testKey, testSalt)
	if err != nil {
		t.Fatal(err)
	}
	zerosKey := bytes.Repeat([]byte{0x4c}, KeySize)

	tests := []struct {
		name string
		key  []byte // nil is the right one
		file []byte
		is   error
	}{
		{"another key", zerosKey, file, ErrKey},
		{"no key", []byte{}, file, ErrKey},
		{"key of 16 bytes", testKey[:16], file, ErrKey},
		{"key of 33 bytes", append(bytes.Clone(testKey), 0), file, ErrKey},
		{"no chunks", nil, before, ErrFormat},
		{"last chunk left out", nil, join(before, c[0], c[1], c[2]), ErrKey},
		{"first left out", nil, join(before, c[1], c[2], c[3]), ErrKey},
		{"middle left out", nil, join(before, c[0], c[2], c[3]), ErrKey},
		{"last alone", nil, join(before, c[3]), ErrKey},
		{"order", nil, join(before, c[0], c[2], c[1], c[3]), ErrKey},
		{"one twice", nil, join(before, c[0], c[0], c[1], c[2], c[3]), ErrKey},
		{"last twice", nil, join(before, c[0], c[1], c[2], c[3], c[3]), ErrKey},
		{"something follows", nil, join(file, make([]byte, 50)), ErrKey},
		{"chunk cut", nil, join(before, c[0], c[1], c[2], c[3][:99]), ErrKey},
		{"cut to a tag", nil, join(before, c[0], c[1], c[2], c[3][:tagSize]), ErrKey},
		{"cut to less than a tag", nil, join(before, c[0], c[1], c[2], c[3][:tagSize-1]), ErrFormat},
		{"cut to less than a tag alone", nil, join(before, c[0][:tagSize-1]), ErrFormat},
		{"another file's chunk", nil, join(before, c[0], f[1], c[2], c[3]), ErrKey},
		{"another file's header", nil, join(freshBefore, c...), ErrKey},
		{"another file's chunks", nil, join(before, f...), ErrKey},
		{"a full last chunk as one of the middle", nil, join(before, c[0], c[1], w[2], c[3]), ErrKey},
		{"one of the middle as the last", nil, join(before, w[0], w[1], c[2]), ErrKey},
		{"another name", nil, join(other(func(h *Header) { h.Name = "answers" }), c...), ErrKey},
		{"another key id", nil, join(other(func(h *Header) { h.KeyID = "" }), c...), ErrKey},
		{"another wrapped key", nil, join(other(func(h *Header) { h.WrappedKey = []byte("x") }), c...), ErrKey},
		{"another context", nil, join(other(func(h *Header) { h.Context = map[string]string{"app": "other"} }), c...), ErrKey},
		{"no context", nil, join(other(func(h *Header) { h.Context = nil }), c...), ErrKey},
		// This can only be made by who has the key; there is one file for a plaintext.
		{"empty last chunk", nil, join(before, c[0], aead.Seal(nil, nonce(1, true), nil, sumOf(before))), ErrKey},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			key := test.key
			if key == nil {
				key = testKey
			}
			h, plaintext, err := Open(key, test.file)
			if !errors.Is(err, test.is) || plaintext != nil || h.Name != "" {
				t.Errorf("%d bytes of plaintext, header %+v, error %v; want nothing and %v", len(plaintext), h, err, test.is)
			}
		})
	}

	// The cases above stand on files that do open.
	for name, f := range map[string][]byte{"file": file, "zeros": zeros, "whole": whole, "fresh": fresh.Bytes(), "joined": join(before, c...), "file of zeros, joined": join(before, z...)} {
		if _, _, err := Open(testKey, f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEveryBit: no byte of a file can be another.
func TestEveryBit(t *testing.T) {
	file := sealedFile(t, testHeader, content(300))
	for at := range file {
		for _, bit := range []byte{1, 0x80} {
			file[at] ^= bit
			if _, plaintext, err := Open(testKey, file); err == nil || plaintext != nil {
				t.Errorf("opened with another byte %d", at)
			} else if !errors.Is(err, ErrKey) && !errors.Is(err, ErrFormat) {
				t.Errorf("byte %d: error %v", at, err)
			}
			file[at] ^= bit
		}
	}
	for n := range file {
		if _, _, err := Open(testKey, file[:n]); err == nil {
			t.Errorf("opened the first %d bytes", n)
		}
		if _, err := ReadHeader(file[:n]); n < len(file)-300-tagSize && !errors.Is(err, ErrFormat) {
			t.Errorf("header of the first %d bytes: %v, want ErrFormat", n, err)
		}
	}
}

// A watched cipher keeps the buffer that chunks are opened into.
type watched struct {
	cipher.AEAD
	t      *testing.T
	buffer []byte
}

func (w *watched) Open(to, nonce, chunk, sum []byte) ([]byte, error) {
	if room := cap(to) - len(to); len(chunk)-tagSize > room {
		w.t.Errorf("a chunk of %d bytes for a rest of %d in the buffer: the plaintext moves", len(chunk), room)
	}
	w.buffer = to[:cap(to)]
	return w.AEAD.Open(to, nonce, chunk, sum)
}

// TestOpenLeavesNothing: the plaintext of good chunks before a bad one is wiped, and
// lies in one place only.
func TestOpenLeavesNothing(t *testing.T) {
	file := sealedFile(t, testHeader, content(2*ChunkSize+50))
	_, before, chunks, err := split(file)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := fileCipher(testKey, testSalt)
	if err != nil {
		t.Fatal(err)
	}
	opened := 0
	for n := len(chunks) - 1; n > ChunkSize; n-- {
		if n%wholeChunk > 100 && n%1013 != 0 {
			continue
		}
		w := &watched{AEAD: aead, t: t}
		plaintext, err := openChunks(w, sumOf(before), chunks[:n])
		if err == nil || plaintext != nil {
			t.Fatalf("opened the first %d bytes", n)
		}
		if slices.ContainsFunc(w.buffer, func(b byte) bool { return b != 0 }) {
			t.Fatalf("%d bytes: plaintext is left", n)
		}
		if w.buffer != nil {
			opened++
		}
	}
	if opened < 100 {
		t.Errorf("only %d cases opened anything", opened)
	}
}

func sumOf(before []byte) []byte {
	s := sha256.Sum256(before)
	return s[:]
}

func TestHeaderRefused(t *testing.T) {
	good, err := testHeader.encode(testSalt)
	if err != nil {
		t.Fatal(err)
	}
	// header puts the right length before what is after the salt.
	header := func(fields ...[]byte) []byte {
		body := append(bytes.Clone(testSalt), bytes.Join(fields, nil)...)
		return append(binary.BigEndian.AppendUint32([]byte(magic), uint32(len(body))), body...)
	}
	field := func(b string) []byte {
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
	}
	pairs := func(texts ...string) []byte {
		var b []byte
		for _, s := range texts {
			b = append(b, field(s)...)
		}
		return field(string(b))
	}
	change := func(at int, b ...byte) []byte {
		f := bytes.Clone(good)
		copy(f[at:], b)
		return f
	}
	rest := bytes.Repeat([]byte{0}, 200)
	tests := []struct {
		name string
		file []byte
	}{
		{"nothing", nil},
		{"magic only", good[:len(magic)]},
		{"another version", change(7, 2)},
		{"length of all ones", change(8, 0xff, 0xff, 0xff, 0xff)},
		{"length beyond the limit", append(change(8, 0, 0x80, 0, 0), make([]byte, 1<<20)...)},
		{"length of one more", append(change(11, good[11]+1), rest...)},
		{"length of one less", append(change(11, good[11]-1), rest...)},
		{"length zero", append(change(8, 0, 0, 0, 0), rest...)},
		{"salt cut", append(change(8, 0, 0, 0, 31), rest...)},
		{"no context", header(field("n"), field("k"), field("w"))},
		{"something follows the context", header(field("n"), field("k"), field("w"), pairs(), []byte{0})},
		{"no wrapped key", header(field("n"), field("k"), field(""), pairs())},
		{"name too long", header(field(string(make([]byte, MaxName+1))), field("k"), field("w"), pairs())},
		{"name is not UTF-8", header(field("\xff"), field("k"), field("w"), pairs())},
		{"name without a value", header(field("n"), field("k"), field("w"), pairs("a"))},
		{"name is empty", header(field("n"), field("k"), field("w"), pairs("", "v"))},
		{"not sorted", header(field("n"), field("k"), field("w"), pairs("b", "", "a", ""))},
		{"name twice", header(field("n"), field("k"), field("w"), pairs("a", "1", "a", "2"))},
	}
	if h, err := ReadHeader(header(field("n"), field("k"), field("w"), pairs("a", "1", "b", "2"))); err != nil || h.Context["b"] != "2" {
		t.Fatalf("a good header: %+v, %v", h, err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if h, err := ReadHeader(test.file); !errors.Is(err, ErrFormat) {
				t.Errorf("header %+v, error %v; want ErrFormat", h, err)
			}
			if _, _, err := Open(testKey, test.file); !errors.Is(err, ErrFormat) {
				t.Errorf("Open: error %v; want ErrFormat", err)
			}
		})
	}
}

// FuzzOpen: nothing that Seal did not make opens. What opens is sealed to the same
// bytes again.
func FuzzOpen(f *testing.F) {
	for _, n := range []int{0, 1, 100} {
		file := sealedFile(f, testHeader, content(n))
		f.Add(file)
		f.Add(file[:len(file)-1])
		f.Add(append(file, 0))
	}
	f.Add(sealedFile(f, Header{WrappedKey: []byte{1}}, content(ChunkSize)))
	f.Fuzz(func(t *testing.T, file []byte) {
		h, plaintext, err := Open(testKey, file)
		if err != nil {
			if !errors.Is(err, ErrKey) && !errors.Is(err, ErrFormat) || plaintext != nil {
				t.Fatalf("%d bytes of plaintext, error %v", len(plaintext), err)
			}
			return
		}
		var again bytes.Buffer
		if err := seal(&again, testKey, h, file[preamble:preamble+saltSize], plaintext); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Bytes(), file) {
			t.Fatal("sealed again it is another file")
		}
	})
}

// FuzzReadHeader: what is read is encoded to the same bytes again, and keeps the
// limits.
func FuzzReadHeader(f *testing.F) {
	for _, h := range []Header{testHeader, {WrappedKey: []byte{1}}, largestHeader()} {
		b, err := h.encode(testSalt)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(b, 1, 2, 3))
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		h, err := ReadHeader(file)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		if err := h.check(); err != nil {
			t.Fatal(err)
		}
		again, err := h.encode(file[preamble : preamble+saltSize])
		if err != nil || !bytes.HasPrefix(file, again) {
			t.Fatalf("encoded as other bytes, %v", err)
		}
	})
}
