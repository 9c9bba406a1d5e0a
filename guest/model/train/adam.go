package train

import (
	"math"

	"github.com/nitrolab/nitrolab/guest/model"
)

// Adam (Kingma and Ba 2015, algorithm 1) with its usual constants, and the bound
// on the length of a gradient that keeps one odd batch from throwing it off.
const (
	beta1, beta2 = 0.9, 0.98
	tiny         = 1e-8
	maxLength    = 1.0
)

type adam struct {
	step        int
	mean, power []float32 // of gradients and of their squares
}

// update moves weights against gradient, which it clears.
func (a *adam) update(p, gradient *model.Params, rate float64) {
	if a.mean == nil {
		a.mean, a.power = make([]float32, len(p.Flat)), make([]float32, len(p.Flat))
	}
	a.step++
	var square float64
	for _, v := range gradient.Flat {
		square += float64(v) * float64(v)
	}
	shorten := float32(min(1, maxLength/(math.Sqrt(square)+tiny)))
	c1, c2 := 1-math.Pow(beta1, float64(a.step)), 1-math.Pow(beta2, float64(a.step))
	step, root := float32(rate/c1), float32(1/math.Sqrt(c2))
	for i, v := range gradient.Flat {
		v *= shorten
		a.mean[i] = beta1*a.mean[i] + (1-beta1)*v
		a.power[i] = beta2*a.power[i] + (1-beta2)*v*v
		p.Flat[i] -= step * a.mean[i] / (root*float32(math.Sqrt(float64(a.power[i]))) + tiny)
	}
	clear(gradient.Flat)
}
