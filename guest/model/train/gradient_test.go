package train

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/nitrolab/nitrolab/guest/model"
	"github.com/nitrolab/nitrolab/guest/model/internal/reference"
)

// TestGradient compares loss and gradient with the reference's loss and its
// differences, weight by weight.
func TestGradient(t *testing.T) {
	tests := []struct {
		shape   model.Shape
		lengths []int // of texts
	}{
		{model.Shape{Vocab: 3, Context: 4, Layers: 1, Width: 2, Heads: 1, Hidden: 1}, []int{2}},
		{model.Shape{Vocab: 5, Context: 8, Layers: 1, Width: 4, Heads: 2, Hidden: 3}, []int{5}},
		{model.Shape{Vocab: 7, Context: 12, Layers: 2, Width: 8, Heads: 2, Hidden: 6}, []int{9, 2, 6}},
		{model.Shape{Vocab: 6, Context: 12, Layers: 3, Width: 6, Heads: 1, Hidden: 9}, []int{4, 11}},
		{model.Shape{Vocab: 9, Context: 8, Layers: 1, Width: 12, Heads: 3, Hidden: 5}, []int{8, 8, 8, 3}},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			p, err := model.NewParams(test.shape)
			if err != nil {
				t.Fatal(err)
			}
			random := rand.New(rand.NewPCG(7, uint64(len(p.Flat))))
			for i := range p.Flat {
				p.Flat[i] = float32(random.NormFloat64() * 0.7)
			}
			var texts []Text
			var same [][]int
			for _, n := range test.lengths {
				text := make([]int, n)
				for i := range text {
					text[i] = random.IntN(test.shape.Vocab)
				}
				texts, same = append(texts, text), append(same, text)
			}
			r, err := reference.Parse(model.Encode(p))
			if err != nil {
				t.Fatal(err)
			}

			f := newPass(p, texts)
			loss := f.loss()
			if want := r.Loss(same); !(math.Abs(loss-want) < 1e-5*want) {
				t.Fatalf("loss %v, the reference has %v", loss, want)
			}
			gradient, err := model.NewParams(test.shape)
			if err != nil {
				t.Fatal(err)
			}
			for i := range gradient.Flat {
				gradient.Flat[i] = 1 // it is added to
			}
			f.gradient(gradient)

			var largest float64
			want := make([]float64, len(p.Flat))
			for i := range want {
				const step = 1e-5
				at := r.Weights[i]
				r.Weights[i] = at + step
				want[i] = r.Loss(same)
				r.Weights[i] = at - step
				want[i] = (want[i] - r.Loss(same)) / (2 * step)
				r.Weights[i] = at
				largest = max(largest, math.Abs(want[i]))
			}
			if largest < 0.01 {
				t.Fatalf("the largest derivative is %v: nothing is tested", largest)
			}
			for i := range want {
				if got := float64(gradient.Flat[i]) - 1; !(math.Abs(got-want[i]) < 2e-6+1e-5*largest) {
					t.Errorf("weight %d of %d: derivative %v, want %v", i, len(want), got, want[i])
				}
			}
		})
	}
}

// TestPassIsModel: what is trained is what package model runs.
func TestPassIsModel(t *testing.T) {
	p, err := Initial(model.Shape{Vocab: model.VocabSize, Context: 32, Layers: 2, Width: 16, Heads: 2, Hidden: 12}, 3)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(p)
	if err != nil {
		t.Fatal(err)
	}
	const line = "what is a leaf?"
	texts, err := Texts(p.Shape, []string{"another", line})
	if err != nil {
		t.Fatal(err)
	}
	want, err := m.Logits(t.Context(), line)
	if err != nil {
		t.Fatal(err)
	}
	f := newPass(p, texts)
	got := f.logits[len(f.logits)-model.VocabSize:]
	for i := range want {
		if !(math.Abs(float64(got[i]-want[i])) < 1e-4) {
			t.Errorf("logit %d: %v in training, %v in the model", i, got[i], want[i])
		}
	}
}
