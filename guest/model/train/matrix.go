package train

// product adds a times the transpose of b to c: c is m x n, a is m x k and b is
// n x k, all row by row. Both are read along their rows, and a block of eight
// sums is kept in registers; that is some three times as fast as one sum at a
// time.
func product(c, a, b []float32, m, n, k int) {
	i := 0
	for ; i+4 <= m; i += 4 {
		a0, a1, a2, a3 := a[i*k:(i+1)*k], a[(i+1)*k:(i+2)*k], a[(i+2)*k:(i+3)*k], a[(i+3)*k:(i+4)*k]
		j := 0
		for ; j+2 <= n; j += 2 {
			b0, b1 := b[j*k:(j+1)*k], b[(j+1)*k:(j+2)*k]
			var s00, s01, s10, s11, s20, s21, s30, s31 float32
			a1, a2, a3, b0, b1 := a1[:len(a0)], a2[:len(a0)], a3[:len(a0)], b0[:len(a0)], b1[:len(a0)]
			for t, x0 := range a0 {
				x1, x2, x3, y0, y1 := a1[t], a2[t], a3[t], b0[t], b1[t]
				s00 += x0 * y0
				s01 += x0 * y1
				s10 += x1 * y0
				s11 += x1 * y1
				s20 += x2 * y0
				s21 += x2 * y1
				s30 += x3 * y0
				s31 += x3 * y1
			}
			c[i*n+j] += s00
			c[i*n+j+1] += s01
			c[(i+1)*n+j] += s10
			c[(i+1)*n+j+1] += s11
			c[(i+2)*n+j] += s20
			c[(i+2)*n+j+1] += s21
			c[(i+3)*n+j] += s30
			c[(i+3)*n+j+1] += s31
		}
		for ; j < n; j++ {
			row := b[j*k : (j+1)*k]
			c[i*n+j] += dot(a0, row)
			c[(i+1)*n+j] += dot(a1, row)
			c[(i+2)*n+j] += dot(a2, row)
			c[(i+3)*n+j] += dot(a3, row)
		}
	}
	for ; i < m; i++ {
		for j := range n {
			c[i*n+j] += dot(a[i*k:(i+1)*k], b[j*k:(j+1)*k])
		}
	}
}

func dot(a, b []float32) float32 {
	var sum float32
	b = b[:len(a)]
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// transpose is the n x m transpose of the m x n matrix a.
func transpose(a []float32, m, n int) []float32 {
	t := make([]float32, len(a))
	for i := range m {
		for j, v := range a[i*n : (i+1)*n] {
			t[j*m+i] = v
		}
	}
	return t
}

// apply is y = x times the transpose of w, for n rows of x.
func apply(x, w []float32, n int) []float32 {
	in := len(x) / n
	out := len(w) / in
	y := make([]float32, n*out)
	product(y, x, w, n, out, in)
	return y
}

// unapply adds what follows from dy, the gradient of apply's result: dw is the
// gradient of w, and dx, if not nil, that of x.
func unapply(dx, dw, dy, x, w []float32, n int) {
	in := len(x) / n
	out := len(w) / in
	product(dw, transpose(dy, n, out), transpose(x, n, in), out, in, n)
	if dx != nil {
		product(dx, dy, transpose(w, out, in), n, in, out)
	}
}
