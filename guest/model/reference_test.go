package model_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/nitrolab/nitrolab/guest/model"
	"github.com/nitrolab/nitrolab/guest/model/internal/reference"
	"github.com/nitrolab/nitrolab/guest/model/weights"
)

// TestLogits compares every logit with the reference's.
func TestLogits(t *testing.T) {
	type test struct {
		name    string
		file    []byte
		prompts []string
	}
	tests := []test{{
		name: "project's model",
		file: weights.Model(),
		prompts: []string{
			"", "w", "what is nitrolab?", "~ {}|\\ 0123456789", "what is the answer to a question that it was never asked?",
			strings.Repeat("enclave ", 15) + "ends..", // 126, the longest
		},
	}}
	for _, s := range []model.Shape{
		{Vocab: model.VocabSize, Context: 3, Layers: 1, Width: 2, Heads: 1, Hidden: 1},
		{Vocab: model.VocabSize, Context: 40, Layers: 3, Width: 12, Heads: 3, Hidden: 7},
		{Vocab: model.VocabSize, Context: 40, Layers: 1, Width: 10, Heads: 5, Hidden: 33},
		{Vocab: model.VocabSize, Context: 40, Layers: 2, Width: 30, Heads: 1, Hidden: 5},
	} {
		prompt := "positions matter: abc cba."
		tests = append(tests, test{
			name:    fmt.Sprintf("random %+v", s),
			file:    model.Encode(random(t, s, 1)),
			prompts: []string{"", prompt[:min(len(prompt), s.Context-2)]},
		})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := model.Load(test.file)
			if err != nil {
				t.Fatal(err)
			}
			r, err := reference.Parse(test.file)
			if err != nil {
				t.Fatal(err)
			}
			for _, prompt := range test.prompts {
				got, err := m.Logits(t.Context(), prompt)
				if err != nil {
					t.Fatal(err)
				}
				tokens, err := model.Tokens("\n" + prompt)
				if err != nil {
					t.Fatal(err)
				}
				all := r.Logits(tokens)
				want := all[len(all)-1]
				if len(got) != len(want) {
					t.Fatalf("%q: %d logits, want %d", prompt, len(got), len(want))
				}
				size := 1.0
				for _, v := range want {
					size = max(size, math.Abs(v))
				}
				for i := range want {
					if d := math.Abs(float64(got[i]) - want[i]); !(d <= 2e-5*size) {
						t.Errorf("%q: logit %d is %v, the reference has %v", prompt, i, got[i], want[i])
						break
					}
				}
			}
		})
	}
}

// random are weights of which every one matters.
func random(t testing.TB, s model.Shape, seed uint64) *model.Params {
	t.Helper()
	p, err := model.NewParams(s)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range p.Flat {
		p.Flat[i] = float32(r.NormFloat64() * 0.6)
	}
	return p
}
