package train

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/nitrolab/nitrolab/guest/model"
	"github.com/nitrolab/nitrolab/guest/model/weights"
)

func small(progress func(int, float64)) Config {
	return Config{
		Shape: model.Shape{Vocab: model.VocabSize, Context: 40, Layers: 1, Width: 16, Heads: 2, Hidden: 16},
		Lines: []string{"what is up? the sky.", "what is down? the earth.", "who are you? nobody."},
		Steps: 120, Batch: 2, Rate: 0.02, Seed: 1, Progress: progress,
	}
}

// TestRunLearns: the model knows its three lines by heart.
func TestRunLearns(t *testing.T) {
	var losses []float64
	cfg := small(func(step int, loss float64) {
		if step != len(losses) {
			t.Errorf("step %d after %d", step, len(losses))
		}
		losses = append(losses, loss)
	})
	p, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(losses) != cfg.Steps {
		t.Fatalf("%d steps, want %d", len(losses), cfg.Steps)
	}
	// Who knows nothing loses ln 96 = 4.6 nats for each character.
	if first, last := losses[0], losses[len(losses)-1]; first < 4 || first > 6 || last > 0.3 {
		t.Errorf("loss from %v to %v, want from about 4.6 to less than 0.3", first, last)
	}
	m, err := model.Load(model.Encode(p))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range cfg.Lines {
		question, answer, _ := strings.Cut(line, "?")
		if got, err := m.Complete(t.Context(), question+"?", 40); got != answer || err != nil {
			t.Errorf("%s? %q, %v; want %q", question, got, err, answer)
		}
	}
}

func TestRunIsDeterministic(t *testing.T) {
	run := func(seed uint64) []byte {
		cfg := small(nil)
		cfg.Seed, cfg.Steps = seed, 15
		p, err := Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return model.Encode(p)
	}
	one := run(1)
	if !bytes.Equal(one, run(1)) {
		t.Error("the same seed gave other weights")
	}
	if bytes.Equal(one, run(2)) {
		t.Error("another seed gave the same weights")
	}
}

// TestProject: the first steps of the training of package weights are those it was
// made with, and what came of it loses little. After a change on
// purpose: go generate ./guest/model/weights, and its first losses here.
func TestProject(t *testing.T) {
	want := []float64{4.853500, 4.778185, 4.674601}
	ctx, cancel := context.WithCancel(t.Context())
	var got []float64
	cfg := Project()
	cfg.Progress = func(_ int, loss float64) {
		if got = append(got, loss); len(got) == len(want) {
			cancel()
		}
	}
	if _, err := Run(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want the context's", err)
	}
	if !slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-4 }) {
		t.Errorf("first losses %.6f, want %.6f", got, want)
	}

	m, err := model.Load(weights.Model())
	if err != nil {
		t.Fatal(err)
	}
	p, err := model.NewParams(m.Shape())
	if err != nil {
		t.Fatal(err)
	}
	file := weights.Model()
	if !bytes.Equal(read(p, file), file) {
		t.Fatal("weights read wrongly")
	}
	texts, err := Texts(p.Shape, Facts()[:30])
	if err != nil {
		t.Fatal(err)
	}
	// What remains is where a question could go on in several ways.
	if loss := newPass(p, texts).loss(); loss > 0.07 {
		t.Errorf("the project's model loses %v, want less than 0.07", loss)
	}
}

func TestRunErrors(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name   string
		ctx    context.Context
		change func(*Config)
		is     error
		want   string
	}{
		{"no lines", t.Context(), func(c *Config) { c.Lines = nil }, nil, "no lines"},
		{"no steps", t.Context(), func(c *Config) { c.Steps = 0 }, nil, "no lines, steps"},
		{"no batch", t.Context(), func(c *Config) { c.Batch = -1 }, nil, "lines in a batch"},
		{"no shape", t.Context(), func(c *Config) { c.Shape.Heads = 3 }, model.ErrShape, "3 heads"},
		{"long line", t.Context(), func(c *Config) { c.Lines[1] = strings.Repeat("a", 40) }, nil, "line 2: 40 characters, the context has room for 39"},
		{"two lines in one", t.Context(), func(c *Config) { c.Lines[2] = "a\nb" }, nil, "line 3: a line feed"},
		{"another language", t.Context(), func(c *Config) { c.Lines[0] = "größe" }, nil, "line 1: prompt: byte 0xc3"},
		{"ended", ended, func(*Config) {}, context.Canceled, "train"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := small(nil)
			test.change(&cfg)
			p, err := Run(test.ctx, cfg)
			if p != nil || err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("weights %v, error %v; want none and %q", p != nil, err, test.want)
			}
		})
	}
}

// TestLongestLine: a line may use the whole context.
func TestLongestLine(t *testing.T) {
	s := small(nil).Shape
	texts, err := Texts(s, []string{strings.Repeat("a", s.Context-1)})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(texts[0]); n != s.Context+1 || texts[0][0] != model.LineFeed || texts[0][n-1] != model.LineFeed {
		t.Errorf("%d tokens %v", n, texts[0])
	}
}

// TestDeck: each text once, in another order each time.
func TestDeck(t *testing.T) {
	d := newTestDeck(10)
	var rounds [][]int
	for range 3 {
		var round []int
		for range 5 {
			for _, text := range d.deal(2) {
				round = append(round, text[0])
			}
		}
		rounds = append(rounds, slices.Clone(round))
		slices.Sort(round)
		for i, v := range round {
			if i != v {
				t.Fatalf("dealt %v", round)
			}
		}
	}
	if slices.Equal(rounds[0], rounds[1]) || slices.Equal(rounds[1], rounds[2]) {
		t.Errorf("the same order again: %v", rounds)
	}
}
