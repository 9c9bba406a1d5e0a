// Package reference is the transformer of package model once more, for tests: in
// float64, token by token without anything kept, and from the bytes of a file, so
// that it shares no code with what it checks.
package reference

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A Model is one that was read from a file. Weights may be changed.
type Model struct {
	Vocab, Context, Layers, Width, Heads, Hidden int

	Weights []float64 // in the order of the file
}

// Parse reads a file that is taken to be good.
func Parse(file []byte) (*Model, error) {
	const before, sum = 8 + 6*4, 32
	if len(file) < before+sum || len(file)%4 != 0 {
		return nil, fmt.Errorf("reference: a file of %d bytes", len(file))
	}
	m := &Model{}
	for i, to := range []*int{&m.Vocab, &m.Context, &m.Layers, &m.Width, &m.Heads, &m.Hidden} {
		*to = int(binary.LittleEndian.Uint32(file[8+4*i:]))
	}
	for at := before; at < len(file)-sum; at += 4 {
		m.Weights = append(m.Weights, float64(math.Float32frombits(binary.LittleEndian.Uint32(file[at:]))))
	}
	return m, nil
}

// Logits are those after each of tokens, by what the paper of each part says.
func (m *Model) Logits(tokens []int) [][]float64 {
	rest := m.Weights
	matrix := func(rows, columns int) [][]float64 {
		var r [][]float64
		for range rows {
			r, rest = append(r, rest[:columns]), rest[columns:]
		}
		return r
	}
	embedding := matrix(m.Vocab, m.Width)
	var x [][]float64
	for _, t := range tokens {
		x = append(x, embedding[t])
	}
	for range m.Layers {
		gain := matrix(1, m.Width)[0]
		q, k, v, merge := matrix(m.Width, m.Width), matrix(m.Width, m.Width), matrix(m.Width, m.Width), matrix(m.Width, m.Width)
		mixed := m.attend(each(x, gain), q, k, v)
		for i := range x {
			x[i] = sum(x[i], times(merge, mixed[i]))
		}
		gain = matrix(1, m.Width)[0]
		gate, up, down := matrix(m.Hidden, m.Width), matrix(m.Hidden, m.Width), matrix(m.Width, m.Hidden)
		for i, n := range each(x, gain) {
			g, u := times(gate, n), times(up, n)
			for j := range g {
				g[j] *= u[j] / (1 + math.Exp(-g[j]))
			}
			x[i] = sum(x[i], times(down, g))
		}
	}
	gain := matrix(1, m.Width)[0]
	var logits [][]float64
	for _, n := range each(x, gain) {
		logits = append(logits, times(embedding, n))
	}
	return logits
}

// Loss is the mean of the cross entropy of the tokens that follow others in texts.
func (m *Model) Loss(texts [][]int) float64 {
	var total float64
	var n int
	for _, text := range texts {
		for i, logits := range m.Logits(text[:len(text)-1]) {
			var z float64
			for _, l := range logits {
				z += math.Exp(l)
			}
			total += math.Log(z) - logits[text[i+1]]
			n++
		}
	}
	return total / float64(n)
}

// attend is what each position gets by causal attention.
func (m *Model) attend(x, query, key, value [][]float64) [][]float64 {
	size := m.Width / m.Heads
	var q, k, v, mixed [][]float64
	for at, row := range x {
		q = append(q, m.turn(times(query, row), at))
		k = append(k, m.turn(times(key, row), at))
		v = append(v, times(value, row))
		out := make([]float64, m.Width)
		for j := range out {
			head := j / size * size
			var above, below float64
			for t := 0; t <= at; t++ {
				var score float64
				for i := head; i < head+size; i++ {
					score += q[at][i] * k[t][i]
				}
				e := math.Exp(score / math.Sqrt(float64(size)))
				above += e * v[t][j]
				below += e
			}
			out[j] = above / below
		}
		mixed = append(mixed, out)
	}
	return mixed
}

// turn multiplies neighbours, as complex numbers, by those of their position.
func (m *Model) turn(x []float64, at int) []float64 {
	size := m.Width / m.Heads
	out := make([]float64, len(x))
	for j := 0; j < len(x); j += 2 {
		angle := float64(at) / math.Pow(10000, float64(j%size)/float64(size))
		z := complex(x[j], x[j+1]) * complex(math.Cos(angle), math.Sin(angle))
		out[j], out[j+1] = real(z), imag(z)
	}
	return out
}

// each normalizes rows by their root mean square.
func each(x [][]float64, gain []float64) [][]float64 {
	var out [][]float64
	for _, row := range x {
		square := 0.0
		for _, v := range row {
			square += v * v
		}
		n := make([]float64, len(row))
		for i, v := range row {
			n[i] = gain[i] * v / math.Sqrt(square/float64(len(row))+1e-5)
		}
		out = append(out, n)
	}
	return out
}

func times(m [][]float64, x []float64) []float64 {
	out := make([]float64, len(m))
	for i, row := range m {
		for j, w := range row {
			out[i] += w * x[j]
		}
	}
	return out
}

func sum(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] + b[i]
	}
	return out
}
