package sealed

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	testKey  = bytes.Repeat([]byte{0x4b}, KeySize)
	testSalt = bytes.Repeat([]byte{0x53}, saltSize)

	testHeader = Header{
		Name:       "answers.model",
		KeyID:      "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		WrappedKey: []byte("wrapped data key"),
		Context:    map[string]string{"purpose": "weights", "app": "inference", "empty": ""},
	}
)

func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// sealedFile has the salt that tests know.
func sealedFile(t testing.TB, h Header, plaintext []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := seal(&b, testKey, h, testSalt, plaintext); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	headers := map[string]Header{
		"usual":   testHeader,
		"least":   {WrappedKey: []byte{0}},
		"largest": largestHeader(),
	}
	for name, h := range headers {
		for _, size := range []int{0, 1, ChunkSize - 1, ChunkSize, ChunkSize + 1, 2 * ChunkSize, 3*ChunkSize + 17} {
			t.Run(fmt.Sprint(name, size), func(t *testing.T) {
				var b bytes.Buffer
				if err := Seal(&b, testKey, h, content(size)); err != nil {
					t.Fatal(err)
				}
				file := b.Bytes()
				before := bytes.Clone(file)
				got, plaintext, err := Open(testKey, file)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(h, got); diff != "" {
					t.Errorf("header (-sealed +opened):\n%s", diff)
				}
				if !bytes.Equal(plaintext, content(size)) {
					t.Error("another plaintext")
				}
				if !bytes.Equal(before, file) {
					t.Error("Open changed the file")
				}
				read, err := ReadHeader(file)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(h, read); diff != "" {
					t.Errorf("header (-sealed +read):\n%s", diff)
				}
			})
		}
	}
}

func largestHeader() Header {
	h := Header{
		Name:       strings.Repeat("n", MaxName),
		KeyID:      strings.Repeat("k", MaxKeyID),
		WrappedKey: bytes.Repeat([]byte{1}, MaxWrappedKey),
		Context:    make(map[string]string),
	}
	for i := range MaxPairs {
		name := fmt.Sprintf("%02d", i)
		h.Context[name] = strings.Repeat("v", MaxContext/MaxPairs-len(name))
	}
	return h
}

// TestFileIsAsDocumented opens a file by nothing but the package comment.
func TestFileIsAsDocumented(t *testing.T) {
	plaintext := content(ChunkSize + 5)
	file := sealedFile(t, Header{Name: "n", KeyID: "key", WrappedKey: []byte{9, 8}, Context: map[string]string{"b": "2", "a": ""}}, plaintext)
	header := strings.Repeat("53", 32) + // salt
		"0001" + "6e" + "0003" + "6b6579" + "0002" + "0908" +
		"000b" + "0001" + "61" + "0000" + "0001" + "62" + "0001" + "32"
	want := hex.EncodeToString([]byte("nlseal\x00\x01")) + fmt.Sprintf("%08x", len(header)/2) + header
	before := file[:len(want)/2]
	if got := hex.EncodeToString(before); got != want {
		t.Fatalf("before the chunks %s, want %s", got, want)
	}
	key, err := hkdf.Key(sha256.New, testKey, testSalt, "nitrolab sealed weights, version 1", 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	aad := sha256.Sum256(before)
	chunks := file[len(before):]
	if want := ChunkSize + 16 + 5 + 16; len(chunks) != want {
		t.Fatalf("%d bytes of chunks, want %d", len(chunks), want)
	}
	first, err := gcm.Open(nil, make([]byte, 12), chunks[:ChunkSize+16], aad[:])
	if err != nil {
		t.Fatal("first chunk: ", err)
	}
	last, err := gcm.Open(nil, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}, chunks[ChunkSize+16:], aad[:])
	if err != nil {
		t.Fatal("last chunk: ", err)
	}
	if !bytes.Equal(append(first, last...), plaintext) {
		t.Error("another plaintext")
	}
}

// TestSealIsFresh: the same key and plaintext give files that share no chunk.
func TestSealIsFresh(t *testing.T) {
	var one, two bytes.Buffer
	for _, w := range []io.Writer{&one, &two} {
		if err := Seal(w, testKey, testHeader, content(100)); err != nil {
			t.Fatal(err)
		}
	}
	if bytes.Equal(one.Bytes()[preamble:preamble+saltSize], two.Bytes()[preamble:preamble+saltSize]) {
		t.Error("the same salt")
	}
	if bytes.Equal(one.Bytes()[one.Len()-116:], two.Bytes()[two.Len()-116:]) {
		t.Error("the same chunk")
	}
}

// TestLimit: the largest file has MaxFile bytes at most, and one more byte is
// refused on both sides.
func TestLimit(t *testing.T) {
	large := make([]byte, MaxPlaintext)
	file := sealedFile(t, largestHeader(), large)
	if len(file) > MaxFile {
		t.Errorf("a file of %d bytes, MaxFile is %d", len(file), MaxFile)
	}
	if _, got, err := Open(testKey, file); err != nil || len(got) != MaxPlaintext {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := Seal(io.Discard, testKey, testHeader, make([]byte, MaxPlaintext+1)); err == nil {
		t.Error("Seal took more than MaxPlaintext")
	}
	_, _, err := Open(testKey, append(file, make([]byte, tagSize+1)...))
	if !errors.Is(err, ErrFormat) {
		t.Errorf("Open of a longer file: %v, want ErrFormat", err)
	}
}

// A short writer takes n writes.
type short struct{ left int }

var errFull = errors.New("disk is full")

func (w *short) Write(b []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestSealErrors(t *testing.T) {
	change := func(f func(*Header)) Header {
		h := testHeader
		f(&h)
		return h
	}
	tests := []struct {
		name string
		w    io.Writer
		key  []byte
		h    Header
		want string
	}{
		{"no key", io.Discard, nil, testHeader, "data key of 0 bytes, allowed are 32"},
		{"short key", io.Discard, testKey[:16], testHeader, "data key of 16 bytes"},
		{"name", io.Discard, testKey, change(func(h *Header) { h.Name = strings.Repeat("n", MaxName+1) }), "name: 256 bytes, allowed are 255"},
		{"name in Latin-1", io.Discard, testKey, change(func(h *Header) { h.Name = "gr\xf6\xdfe" }), "name: not UTF-8"},
		{"key id", io.Discard, testKey, change(func(h *Header) { h.KeyID = strings.Repeat("n", MaxKeyID+1) }), "key id: 2049 bytes"},
		{"no wrapped key", io.Discard, testKey, change(func(h *Header) { h.WrappedKey = nil }), "wrapped key: empty"},
		{"wrapped key", io.Discard, testKey, change(func(h *Header) { h.WrappedKey = make([]byte, MaxWrappedKey+1) }), "wrapped key: 6145 bytes"},
		{"context", io.Discard, testKey, change(func(h *Header) { h.Context = map[string]string{"a": strings.Repeat("v", MaxContext)} }), "encryption context: 8193 bytes"},
		{"empty name", io.Discard, testKey, change(func(h *Header) { h.Context = map[string]string{"": "v"} }), "encryption context: a name is empty"},
		{"value in Latin-1", io.Discard, testKey, change(func(h *Header) { h.Context = map[string]string{"a": "\xff"} }), "not UTF-8"},
		{"pairs", io.Discard, testKey, change(func(h *Header) {
			h.Context = make(map[string]string)
			for i := range MaxPairs + 1 {
				h.Context[fmt.Sprint(i)] = ""
			}
		}), "65 pairs, allowed are 64"},
		{"header is not written", &short{0}, testKey, testHeader, errFull.Error()},
		{"chunk is not written", &short{2}, testKey, testHeader, errFull.Error()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := Seal(test.w, test.key, test.h, content(2*ChunkSize))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if err != nil && (bytes.Contains([]byte(err.Error()), testKey[:4]) || strings.Contains(err.Error(), "4b4b")) {
				t.Error("the data key is in the error")
			}
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	plaintext := content(16 << 20)
	b.SetBytes(int64(len(plaintext)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Seal(io.Discard, testKey, testHeader, plaintext); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	file := sealedFile(b, testHeader, content(16<<20))
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Open(testKey, file); err != nil {
			b.Fatal(err)
		}
	}
}
