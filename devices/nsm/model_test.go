package nsm_test

import (
	"crypto/sha512"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// model is the PCR rules of enclave-abi.md, section 2.4, in the simplest form
// there is.
type model struct {
	value  [32][]byte
	locked [32]bool
}

func (m *model) answer(r wire.Request) (wire.Response, error) {
	switch r := r.(type) {
	case wire.DescribePCR:
		if r.Index > 31 {
			return nil, wire.InvalidIndex
		}
		return wire.DescribePCRResponse{Lock: m.locked[r.Index], Data: wire.PCR(m.value[r.Index])}, nil
	case wire.ExtendPCR:
		if r.Index > 31 {
			return nil, wire.InvalidIndex
		}
		if m.locked[r.Index] {
			return nil, wire.ReadOnlyIndex
		}
		sum := sha512.Sum384(append(append([]byte{}, m.value[r.Index]...), r.Data...))
		m.value[r.Index] = sum[:]
		return wire.ExtendPCRResponse{Data: sum}, nil
	case wire.LockPCR:
		if r.Index > 31 {
			return nil, wire.InvalidIndex
		}
		if m.locked[r.Index] {
			return nil, wire.ReadOnlyIndex
		}
		m.locked[r.Index] = true
		return wire.LockPCRResponse{}, nil
	case wire.LockPCRs:
		if r.Range > 32 {
			return nil, wire.InvalidIndex
		}
		for i := range r.Range {
			m.locked[i] = true
		}
		return wire.LockPCRsResponse{}, nil
	}
	panic("no such request in the model")
}

func TestRandomSequencesAgainstModel(t *testing.T) {
	for range 20 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		d := newDevice(t)
		var m model
		for i := range m.value {
			m.value[i] = make([]byte, 48)
			m.locked[i] = i < 16
			if v := map[int]byte{0: 1, 1: 2, 2: 3, 3: 4, 4: 5, 8: 6}[i]; v != 0 {
				m.value[i][0] = v // newDevice's measurements
			}
		}
		for step := range 200 {
			var r wire.Request
			index := uint16(rng.IntN(34))
			switch rng.IntN(20) {
			case 0:
				r = wire.LockPCR{Index: index}
			case 1:
				r = wire.LockPCRs{Range: uint16(rng.IntN(20))}
			case 2:
				r = wire.LockPCRs{Range: uint16(33 + rng.IntN(3))}
			case 3, 4, 5, 6, 7, 8, 9:
				data := make([]byte, rng.IntN(300))
				for i := range data {
					data[i] = byte(rng.Uint32())
				}
				r = wire.ExtendPCR{Index: index, Data: data}
			default:
				r = wire.DescribePCR{Index: index}
			}
			want, wantErr := m.answer(r)
			got, err := ask(t, d, r)
			if diff := cmp.Diff(want, got); diff != "" || err != wantErr {
				t.Fatalf("seed %d, step %d, %#v: error %v, want %v; (-want +got):\n%s", seed, step, r, err, wantErr, diff)
			}
		}
	}
}
