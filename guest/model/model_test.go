package model_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/guest/model"
	"github.com/nitrolab/nitrolab/guest/model/weights"
)

func project(t testing.TB) *model.Model {
	t.Helper()
	m, err := model.Load(weights.Model())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestComplete(t *testing.T) {
	tests := []struct {
		name, prompt string
		n            int
		want         string
	}{
		{"answer", "what is an enclave?", 128, " a virtual machine without disk, network or operator. only vsock leads in."},
		{"rest of an answer", "how long does a leaf certificate live? three", 128, " hours."},
		{"question is gone on with", "what is nitro", 4, "lab?"},
		{"cut", "what is an enclave?", 10, " a virtual"},
		{"one", "what is an enclave?", 1, " "},
		{"none", "what is an enclave?", 0, ""},
		{"negative", "what is an enclave?", -1, ""},
		{"more than memory", "how many certificates are in a chain?", int(^uint(0) >> 1), " five. root, region, zone, instance and leaf."},
	}
	m := project(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := m.Complete(t.Context(), test.prompt, test.n)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("completion (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCompleteFillsContext: a model that never ends a line stops at the end of its
// context, of which the line feed and the prompt take a part.
func TestCompleteFillsContext(t *testing.T) {
	for _, context := range []int{1, 2, 3, 20} {
		m := constant(t, context, 'a')
		for prompt := 0; prompt <= max(0, context-2); prompt++ {
			got, err := m.Complete(t.Context(), strings.Repeat("b", prompt), 1000)
			if err != nil {
				t.Fatal(err)
			}
			// The last character need not be read, so it is one more than fits.
			if want := strings.Repeat("a", context-prompt); got != want {
				t.Errorf("context %d, prompt %d: %q, want %q", context, prompt, got, want)
			}
		}
	}
}

// constant always says c: every stream has the direction of c's embedding.
func constant(t *testing.T, size int, c byte) *model.Model {
	t.Helper()
	p, err := model.NewParams(model.Shape{Vocab: model.VocabSize, Context: size, Layers: 1, Width: 2, Heads: 1, Hidden: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Embedding {
		p.Embedding[i] = 1
	}
	tokens, err := model.Tokens(string(c))
	if err != nil {
		t.Fatal(err)
	}
	p.Embedding[2*tokens[0]] = 2
	p.Norm[0], p.Norm[1] = 1, 1
	m, err := model.New(p)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestLikeliest: of equals the first wins, whose token is the line feed here.
func TestLikeliest(t *testing.T) {
	p, err := model.NewParams(model.Shape{Vocab: model.VocabSize, Context: 8, Layers: 1, Width: 2, Heads: 1, Hidden: 1})
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(p)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Complete(t.Context(), "a", 5); got != "" || err != nil {
		t.Errorf("completion of a model of zeros is %q, %v; want none", got, err)
	}
}

func TestPromptErrors(t *testing.T) {
	tests := []struct{ name, prompt, want string }{
		{"too long", strings.Repeat("a", 127), "prompt: 127 characters, allowed are 126"},
		{"line feed", "ab\nc", "prompt: line feed at 2; a prompt is one line"},
		{"tab", "\t", "prompt: byte 0x09 at 0 is not printable ASCII"},
		{"delete", "a\x7f", "prompt: byte 0x7f at 1 is not printable ASCII"},
		{"UTF-8", "é", "prompt: byte 0xc3 at 0 is not printable ASCII"},
		{"zero", "secret\x00", "prompt: byte 0x00 at 6 is not printable ASCII"},
	}
	m := project(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for what, err := range map[string]error{
				"Complete": second(m.Complete(t.Context(), test.prompt, 5)),
				"Logits":   second(m.Logits(t.Context(), test.prompt)),
			} {
				var prompt *model.PromptError
				if !errors.As(err, &prompt) || err.Error() != test.want {
					t.Errorf("%s: error %v, want a *PromptError %q", what, err, test.want)
				}
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

// A countdown is a context that ends when it was looked at n times.
type countdown struct {
	context.Context
	n *int
}

func (c countdown) Err() error {
	if *c.n--; *c.n < 0 {
		return context.Canceled
	}
	return nil
}

func TestContextEnds(t *testing.T) {
	m := project(t)
	const prompt = "what is an enclave?"
	for _, n := range []int{0, 1, len(prompt) - 1, len(prompt), len(prompt) + 1, len(prompt) + 20} {
		left := n
		got, err := m.Complete(countdown{t.Context(), &left}, prompt, 100)
		if !errors.Is(err, context.Canceled) || got != "" {
			t.Errorf("ended at look %d: %q, %v; want nothing and the context's error", n, got, err)
		}
		if left != -1 {
			t.Errorf("ended at look %d: went on for %d more", n, -1-left)
		}
	}
}

// TestConcurrent: requests at the same time do not meet. Meant for -race.
func TestConcurrent(t *testing.T) {
	m := project(t)
	var group sync.WaitGroup
	for _, e := range weights.Examples()[:8] {
		group.Go(func() {
			if got, err := m.Complete(t.Context(), e.Prompt, 200); got != e.Completion || err != nil {
				t.Errorf("%q: %q, %v; want %q", e.Prompt, got, err, e.Completion)
			}
		})
	}
	group.Wait()
}

func TestWipe(t *testing.T) {
	p := random(t, model.Shape{Vocab: model.VocabSize, Context: 4, Layers: 2, Width: 4, Heads: 2, Hidden: 3}, 1)
	m, err := model.New(p)
	if err != nil {
		t.Fatal(err)
	}
	m.Wipe()
	for name, v := range map[string][]float32{"embedding": p.Embedding, "down": p.Layers[1].Down, "norm": p.Norm, "all": p.Flat} {
		for i, w := range v {
			if w != 0 {
				t.Fatalf("%s: weight %d is %v after Wipe", name, i, w)
			}
		}
	}
}

// TestLogitsAreCallers: they stay as they are when the model is asked again.
func TestLogitsAreCallers(t *testing.T) {
	m := project(t)
	first, err := m.Logits(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprint(first)
	if _, err := m.Logits(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if before != fmt.Sprint(first) {
		t.Error("logits changed")
	}
}

func BenchmarkComplete(b *testing.B) {
	m := project(b)
	b.ReportAllocs()
	tokens := 0
	for b.Loop() {
		const prompt = "what is a nitro enclave?"
		text, err := m.Complete(b.Context(), prompt, 128)
		if err != nil {
			b.Fatal(err)
		}
		tokens += 1 + len(prompt) + len(text)
	}
	b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
}

func BenchmarkLoad(b *testing.B) {
	file := weights.Model()
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := model.Load(file); err != nil {
			b.Fatal(err)
		}
	}
}
