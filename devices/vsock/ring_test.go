package vsock

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// A ring is a bytes.Buffer, whatever is done to it.
func TestRingAgainstBuffer(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var r ring
	var want bytes.Buffer
	for range 20000 {
		if rnd.IntN(2) == 0 {
			data := pattern(rnd.IntN(3000))
			skip := rnd.IntN(50)
			whole := append(make([]byte, skip), data...)
			cut := rnd.IntN(len(whole) + 1)
			if r.len()+len(data) > 1<<16 {
				continue
			}
			if n := r.gather([][]byte{whole[:cut], nil, whole[cut:]}, skip, len(data)); n != len(data) {
				t.Fatalf("gathered %d of %d", n, len(data))
			}
			want.Write(data)
		} else {
			p, q := make([]byte, rnd.IntN(5000)), make([]byte, 5000)
			n := r.read(p)
			m, _ := want.Read(q[:len(p)])
			if !bytes.Equal(p[:n], q[:m]) {
				t.Fatalf("read %d bytes, want %d, or they differ", n, m)
			}
		}
		a, b := r.peek()
		if got := append(append([]byte{}, a...), b...); !bytes.Equal(got, want.Bytes()) || r.len() != want.Len() {
			t.Fatalf("holds %d bytes, want %d, or they differ", len(got), want.Len())
		}
	}
	if len(r.buf) > 1<<16 {
		t.Errorf("ring of %d bytes for at most %d", len(r.buf), 1<<16)
	}
}

func TestGatherShort(t *testing.T) {
	var r ring
	if n := r.gather([][]byte{{1, 2, 3}}, 2, 5); n != 1 || r.len() != 1 {
		t.Errorf("gathered %d, holds %d", n, r.len())
	}
	if n := r.gather([][]byte{{1, 2, 3}}, 3, 0); n != 0 {
		t.Errorf("gathered %d of nothing", n)
	}
}

func TestScatter(t *testing.T) {
	a, b, c := make([]byte, 3), make([]byte, 1), make([]byte, 4)
	scatter([][]byte{a, b, nil, c}, 2, []byte{1, 2, 3, 4})
	if got, want := bytes.Join([][]byte{a, b, c}, nil), []byte{0, 0, 1, 2, 3, 4, 0, 0}; !bytes.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestResets(t *testing.T) {
	f := resets{limit: 20}
	pushed, popped := uint16(0), uint16(0)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		if rnd.IntN(2) == 0 {
			ok := f.push(reset{typ: pushed})
			if ok != (pushed-popped < 20) {
				t.Fatalf("push with %d held: %v", pushed-popped, ok)
			}
			if ok {
				pushed++
			}
		} else if f.n > 0 {
			if got := f.front().typ; got != popped {
				t.Fatalf("front is %d, want %d", got, popped)
			}
			f.pop()
			popped++
		}
	}
	if len(f.buf) > 20 {
		t.Errorf("%d slots for 20", len(f.buf))
	}
}
