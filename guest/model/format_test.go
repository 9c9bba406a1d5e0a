package model

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var tinyShape = Shape{Vocab: VocabSize, Context: 6, Layers: 2, Width: 4, Heads: 2, Hidden: 3}

func tinyFile(t testing.TB) []byte {
	t.Helper()
	p, err := NewParams(tinyShape)
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Flat {
		p.Flat[i] = float32(i%17)/16 - 0.5
	}
	return Encode(p)
}

// sum puts the right checksum under a changed file.
func sum(file []byte) []byte {
	body := file[:len(file)-sumSize]
	s := sha256.Sum256(body)
	return append(bytes.Clone(body), s[:]...)
}

// with is the file with one member of its shape changed.
func with(file []byte, member int, value uint32) []byte {
	file = bytes.Clone(file)
	binary.LittleEndian.PutUint32(file[len(magic)+4*member:], value)
	return sum(file)
}

func TestFileIsAsDocumented(t *testing.T) {
	file := tinyFile(t)
	want := []byte("nlmodel\x01")
	for _, v := range []byte{96, 6, 2, 4, 2, 3} {
		want = append(want, v, 0, 0, 0)
	}
	want = append(want, 0, 0, 0, 0xbf) // -0.5
	if diff := cmp.Diff(want, file[:len(want)]); diff != "" {
		t.Errorf("beginning (-want +got):\n%s", diff)
	}
	// 96*4 for the embedding, 2 layers of 2*4 gains, four 4*4 and three 4*3, 4 gains.
	if want := 8 + 24 + 4*(96*4+2*(2*4+4*16+3*12)+4) + 32; len(file) != want {
		t.Errorf("%d bytes, want %d", len(file), want)
	}
	m, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(file, Encode(m.params)); diff != "" {
		t.Error("a file that was loaded is encoded as another")
	}
	if diff := cmp.Diff(tinyShape, m.Shape()); diff != "" {
		t.Errorf("shape (-want +got):\n%s", diff)
	}
}

func TestLoadCopies(t *testing.T) {
	file := tinyFile(t)
	m, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	clear(file)
	if m.params.Flat[0] != -0.5 {
		t.Error("the model has the caller's bytes")
	}
}

func TestLoadRefuses(t *testing.T) {
	good := tinyFile(t)
	changed := func(at int, bits byte) []byte {
		f := bytes.Clone(good)
		f[at] ^= bits
		return f
	}
	weight := func(v float32) []byte {
		f := bytes.Clone(good)
		binary.LittleEndian.PutUint32(f[headerSize+4*100:], math.Float32bits(v))
		return sum(f)
	}
	tests := []struct {
		name string
		file []byte
		is   error
		want string
	}{
		{"nothing", nil, ErrFormat, "does not begin"},
		{"text", []byte(strings.Repeat("weights ", 100)), ErrFormat, "does not begin"},
		{"magic only", good[:8], ErrFormat, "does not begin"},
		{"another version", sum(changed(7, 3)), ErrFormat, "version 1"},
		{"one byte less", good[:len(good)-1], ErrFormat, "checksum"},
		{"one byte more", append(bytes.Clone(good), 0), ErrFormat, "checksum"},
		{"bit in the shape", changed(12, 1), ErrFormat, "checksum"},
		{"bit in a weight", changed(500, 1), ErrFormat, "checksum"},
		{"bit in the sum", changed(len(good)-1, 0x80), ErrFormat, "checksum"},
		{"larger than allowed", append([]byte(magic), make([]byte, MaxFile)...), ErrFormat, "allowed are"},
		{"a weight less", sum(append(bytes.Clone(good[:len(good)-36]), make([]byte, 32)...)), ErrFormat, "bytes of weights"},
		{"a weight more", sum(append(bytes.Clone(good), 1, 2, 3, 4)), ErrFormat, "bytes of weights"},
		{"half a weight", sum(append(bytes.Clone(good), 1, 2)), ErrFormat, "bytes of weights"},
		{"infinite", weight(float32(math.Inf(-1))), ErrFormat, "weight 100 is not a finite number"},
		{"no number", weight(float32(math.NaN())), ErrFormat, "weight 100 is not a finite number"},
		{"vocabulary of another", with(good, 0, 95), ErrFormat, "bytes of weights"},
		{"no vocabulary", with(good, 0, 0), ErrShape, "vocabulary is 0"},
		{"no context", with(good, 1, 0), ErrShape, "context is 0"},
		{"context too long", with(good, 1, 1025), ErrShape, "context is 1025, allowed are 1 to 1024"},
		{"no layers", with(good, 2, 0), ErrShape, "layers is 0"},
		{"layers", with(good, 2, 33), ErrShape, "layers is 33"},
		{"width", with(good, 3, 1025), ErrShape, "width is 1025"},
		{"odd heads", with(good, 4, 4), ErrShape, "4 heads into even parts"},
		{"heads that do not divide", with(good, 4, 3), ErrShape, "3 heads into even parts"},
		{"no heads", with(good, 4, 0), ErrShape, "heads is 0"},
		{"hidden", with(good, 5, 4097), ErrShape, "hidden width is 4097"},
		{"negative", with(good, 5, 1<<31), ErrShape, "member 5 is 2147483648"},
		{"all ones", with(good, 3, math.MaxUint32), ErrShape, "member 3"},
		{"too many weights", with(with(with(with(good, 3, 1024), 4, 1), 2, 32), 5, 4096), ErrShape, "weights, allowed are 4194304"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := Load(test.file)
			if m != nil || !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("model %v, error %v; want none, and an error that matches %v and has %q", m, err, test.is, test.want)
			}
		})
	}
}

// TestLoadOtherVocabulary: a good file of a model that speaks no ASCII.
func TestLoadOtherVocabulary(t *testing.T) {
	s := tinyShape
	s.Vocab = 95
	p, err := NewParams(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Encode(p)); !errors.Is(err, ErrShape) || !strings.Contains(err.Error(), "allowed is 96") {
		t.Errorf("error %v, want ErrShape", err)
	}
}

// TestLargest: the bounds of a shape let the largest file in, and keep what a
// decoder needs below what Complete's comment says.
func TestLargest(t *testing.T) {
	most := 0
	for layers := 1; layers <= maxLayers; layers++ {
		for width := 2; width <= maxWidth; width += 2 {
			s := Shape{Vocab: VocabSize, Context: maxContext, Layers: layers, Width: width, Heads: 1, Hidden: 1}
			if s.Check() == nil {
				most = max(most, 8*layers*maxContext*width)
			}
		}
	}
	if most > 48<<20 {
		t.Errorf("a decoder can need %d bytes", most)
	}
}

// FuzzLoad: no panic; a file that is loaded is encoded as itself, and its model
// answers with text of its vocabulary, whatever its weights are.
func FuzzLoad(f *testing.F) {
	good := tinyFile(f)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(with(good, 2, 1<<31))
	f.Add(with(good, 1, 1))
	huge := bytes.Clone(good)
	for i := headerSize; i < len(huge)-sumSize; i += 4 {
		binary.LittleEndian.PutUint32(huge[i:], math.Float32bits(math.MaxFloat32))
	}
	f.Add(sum(huge))
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) < headerSize+sumSize || len(file) > 1<<16 {
			return
		}
		copy(file, magic)
		file = sum(file) // else nothing gets beyond the sum
		m, err := Load(file)
		if err != nil {
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrShape) {
				t.Fatalf("error %v is neither ErrFormat nor ErrShape", err)
			}
			return
		}
		if !bytes.Equal(Encode(m.params), file) {
			t.Fatal("encoded as another file")
		}
		text, err := m.Complete(context.Background(), "", 3)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Tokens(text); err != nil || len(text) > 3 || strings.Contains(text, "\n") {
			t.Fatalf("completion %q, %v", text, err)
		}
	})
}
