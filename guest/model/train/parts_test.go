package train

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/nitrolab/nitrolab/guest/model"
)

func newTestDeck(n int) *deck {
	d := &deck{rand: rand.New(rand.NewPCG(1, 2))}
	for i := range n {
		d.texts = append(d.texts, Text{i})
	}
	return d
}

// read puts the weights of a good file into p, and returns p's file.
func read(p *model.Params, file []byte) []byte {
	for i := range p.Flat {
		p.Flat[i] = math.Float32frombits(binary.LittleEndian.Uint32(file[8+6*4+4*i:]))
	}
	return model.Encode(p)
}

// TestProduct: sizes around those of its blocks.
func TestProduct(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	random := func(n int) []float32 {
		m := make([]float32, n)
		for i := range m {
			m[i] = float32(r.IntN(19) - 9) // sums of their products are exact
		}
		return m
	}
	for m := 1; m <= 9; m++ {
		for n := 1; n <= 5; n++ {
			for _, k := range []int{1, 3, 8} {
				a, b, c := random(m*k), random(n*k), random(m*n)
				want := append([]float32(nil), c...)
				for i := range m {
					for j := range n {
						for l := range k {
							want[i*n+j] += a[i*k+l] * b[j*k+l]
						}
					}
				}
				product(c, a, b, m, n, k)
				if fmt.Sprint(c) != fmt.Sprint(want) {
					t.Fatalf("%dx%d times %dx%d: %v, want %v", m, k, k, n, c, want)
				}
			}
		}
	}
}

// TestAdam compares three updates with algorithm 1 of the paper, in float64.
func TestAdam(t *testing.T) {
	p, err := model.NewParams(model.Shape{Vocab: 1, Context: 1, Layers: 1, Width: 2, Heads: 1, Hidden: 1})
	if err != nil {
		t.Fatal(err)
	}
	gradient, err := model.NewParams(p.Shape)
	if err != nil {
		t.Fatal(err)
	}
	const rate = 0.1
	want, mean, power := make([]float64, len(p.Flat)), make([]float64, len(p.Flat)), make([]float64, len(p.Flat))
	var a adam
	for step, size := range []float64{0.01, 5, 0.02} { // the second is longer than allowed
		var square float64
		for i := range gradient.Flat {
			gradient.Flat[i] = float32(size * math.Sin(float64(i+1+step)))
			square += float64(gradient.Flat[i]) * float64(gradient.Flat[i])
		}
		length := math.Max(1, math.Sqrt(square))
		if step == 1 && length < 2 {
			t.Fatalf("length %v tests no bound", length)
		}
		for i := range want {
			g := float64(gradient.Flat[i]) / length
			mean[i] = 0.9*mean[i] + 0.1*g
			power[i] = 0.98*power[i] + 0.02*g*g
			m, v := mean[i]/(1-math.Pow(0.9, float64(step+1))), power[i]/(1-math.Pow(0.98, float64(step+1)))
			want[i] -= rate * m / (math.Sqrt(v) + 1e-8)
		}
		a.update(p, gradient, rate)
		for i := range want {
			if !(math.Abs(float64(p.Flat[i])-want[i]) < 1e-5) {
				t.Errorf("step %d, weight %d is %v, want %v", step, i, p.Flat[i], want[i])
			}
			if gradient.Flat[i] != 0 {
				t.Errorf("step %d left gradient %d", step, i)
			}
		}
	}
}

func TestRate(t *testing.T) {
	cfg := Config{Steps: 100, Rate: 1}
	for _, test := range []struct {
		step int
		want float64
	}{{0, 0.2}, {1, 0.4}, {4, 1}, {99, 0.01}, {51, 0.01 + 0.99*(1+math.Cos(math.Pi*0.47/0.95))/2}} {
		if got := rate(cfg, test.step); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("step %d: %v, want %v", test.step, got, test.want)
		}
	}
	for step := 5; step < 99; step++ {
		if rate(cfg, step) <= rate(cfg, step+1) {
			t.Errorf("does not fall at %d", step)
		}
	}
}

// TestInitialKeepsSize: what a fresh model makes is about as large as what it was
// given, whatever its depth; logits are of size one.
func TestInitialKeepsSize(t *testing.T) {
	for _, layers := range []int{1, 4, 12} {
		p, err := Initial(model.Shape{Vocab: model.VocabSize, Context: 64, Layers: layers, Width: 64, Heads: 4, Hidden: 128}, 1)
		if err != nil {
			t.Fatal(err)
		}
		texts, err := Texts(p.Shape, []string{"what is an enclave? a virtual machine."})
		if err != nil {
			t.Fatal(err)
		}
		f := newPass(p, texts)
		var square float64
		for _, v := range f.logits {
			square += float64(v) * float64(v)
		}
		if size := math.Sqrt(square / float64(len(f.logits))); size < 0.3 || size > 3 {
			t.Errorf("%d layers: logits of size %v", layers, size)
		}
	}
}

func BenchmarkStep(b *testing.B) {
	cfg := Project()
	p, err := Initial(cfg.Shape, cfg.Seed)
	if err != nil {
		b.Fatal(err)
	}
	texts, err := Texts(cfg.Shape, cfg.Lines[:cfg.Batch])
	if err != nil {
		b.Fatal(err)
	}
	gradient, err := model.NewParams(cfg.Shape)
	if err != nil {
		b.Fatal(err)
	}
	var a adam
	tokens := 0
	b.ReportAllocs()
	for b.Loop() {
		f := newPass(p, texts)
		f.loss()
		f.gradient(gradient)
		a.update(p, gradient, 1e-6)
		tokens += len(f.tokens)
	}
	b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
}
