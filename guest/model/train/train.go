package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/nitrolab/nitrolab/guest/model"
)

// Config says how to train. Shape, Lines, Steps and Batch are required.
type Config struct {
	Shape model.Shape
	Lines []string // what to learn
	Steps int
	Batch int     // lines in one step
	Rate  float64 // highest learning rate; zero means 0.004
	Seed  uint64

	// Progress, if not nil, is called after each step with its loss in nats for
	// each character.
	Progress func(step int, loss float64)
}

// Project is the training of the model in package weights: 1400 steps, of which
// each takes a seventh of a second of one core.
func Project() Config {
	return Config{
		Shape: model.Shape{Vocab: model.VocabSize, Context: 128, Layers: 2, Width: 64, Heads: 4, Hidden: 128},
		Lines: Facts(), Steps: 1400, Batch: 16, Seed: 4,
	}
}

// Run trains a model from nothing. The error is ctx's if it ended first.
func Run(ctx context.Context, cfg Config) (*model.Params, error) {
	if len(cfg.Lines) == 0 || cfg.Steps < 1 || cfg.Batch < 1 {
		return nil, errors.New("train: no lines, steps or lines in a batch")
	}
	if cfg.Rate == 0 {
		cfg.Rate = 0.004
	}
	p, err := Initial(cfg.Shape, cfg.Seed)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	texts, err := Texts(cfg.Shape, cfg.Lines)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	d := deck{texts: texts, rand: rand.New(rand.NewPCG(cfg.Seed, 2))}
	gradient, err := model.NewParams(cfg.Shape)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	var a adam
	for step := range cfg.Steps {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("train: %w", err)
		}
		f := newPass(p, d.deal(cfg.Batch))
		loss := f.loss()
		f.gradient(gradient)
		a.update(p, gradient, rate(cfg, step))
		if cfg.Progress != nil {
			cfg.Progress(step, loss)
		}
	}
	return p, nil
}

// rate rises over the first twentieth of the steps and then falls to a hundredth
// along a cosine.
func rate(cfg Config, step int) float64 {
	at, rise := float64(step+1)/float64(cfg.Steps), 0.05
	if at < rise {
		return cfg.Rate * at / rise
	}
	return cfg.Rate * (0.01 + 0.99*(1+math.Cos(math.Pi*(at-rise)/(1-rise)))/2)
}

// Initial are random weights, of which a layer makes neither more nor less of
// what it is given.
func Initial(s model.Shape, seed uint64) (*model.Params, error) {
	p, err := model.NewParams(s)
	if err != nil {
		return nil, err
	}
	r := rand.New(rand.NewPCG(seed, 1))
	fill := func(m []float32, deviation float64) {
		for i := range m {
			m[i] = float32(r.NormFloat64() * deviation)
		}
	}
	ones := func(m []float32) {
		for i := range m {
			m[i] = 1
		}
	}
	in, back := 1/math.Sqrt(float64(s.Width)), 1/math.Sqrt(float64(2*s.Layers))
	fill(p.Embedding, in)
	for i := range p.Layers {
		l := &p.Layers[i]
		ones(l.AttentionNorm)
		ones(l.HiddenNorm)
		for _, m := range [][]float32{l.Query, l.Key, l.Value, l.Gate, l.Up} {
			fill(m, in)
		}
		fill(l.Merge, in*back)
		fill(l.Down, back/math.Sqrt(float64(s.Hidden)))
	}
	ones(p.Norm)
	return p, nil
}
