package vsock

import "time"

// faults are the injected ones in order. The list is never changed, only
// replaced.
type faults []*Injection

// A sighting is a packet as faults see it. CIDs are canonical.
type sighting struct {
	from, to Addr
	op       Op
	n        int // bytes of payload
}

// A verdict is what all faults together make of one packet. The zero value lets
// it pass as it is.
type verdict struct {
	drop, reset bool
	stall       *Injection // holds it until removed
	delay       time.Duration
	flips       []flip
}

// held reports that the packet cannot go now.
func (v *verdict) held() bool { return v.stall != nil || v.delay != 0 }

// judge asks the faults in turn. A packet that is lost is not seen by those
// after.
func (fs faults) judge(p sighting) (v verdict) {
	for _, i := range fs {
		n, ok := i.hits(&p)
		if !ok {
			continue
		}
		switch f := &i.fault; f.Kind {
		case FaultDrop:
			v.drop = true
			return v
		case FaultReset:
			v.reset = true
			return v
		case FaultStall:
			if v.stall == nil {
				v.stall = i
			}
		case FaultDelay:
			v.delay += f.Delay
		case FaultCorrupt:
			v.flips = append(v.flips, flips(f.Seed, n, p.n, f.Bytes)...)
		}
	}
	return v
}

// hits reports whether the fault hits p, and p's number among the packets that
// match.
func (i *Injection) hits(p *sighting) (n uint64, hit bool) {
	f := &i.fault
	switch {
	case f.From != CIDAny && f.From != p.from.CID,
		f.To != CIDAny && f.To != p.to.CID,
		f.Port != 0 && f.Port != p.from.Port && f.Port != p.to.Port,
		f.Op != 0 && f.Op != p.op,
		f.Over != 0 && p.n <= f.Over,
		f.Kind == FaultCorrupt && p.n == 0:
		return 0, false
	}
	n = i.matched.Add(1) - 1
	if n < uint64(f.After) || f.Rate < 1 && float64(mix(f.Seed, n, 0)>>11)/(1<<53) >= f.Rate {
		return n, false
	}
	if h := i.hit.Add(1); f.Limit != 0 && h > uint64(f.Limit) {
		i.hit.Add(^uint64(0))
		return n, false
	}
	i.bytes.Add(uint64(p.n))
	return n, true
}

// A flip changes one byte of a payload.
type flip struct {
	at  int
	xor byte // not 0
}

// flips spreads count changes over a payload of size bytes, at most one in each
// of as many equal parts, so that no change undoes another one.
func flips(seed, n uint64, size, count int) []flip {
	count = min(count, size)
	fs := make([]flip, count)
	for i := range fs {
		begin, end := i*size/count, (i+1)*size/count
		r := mix(seed, n, uint64(i)+1)
		fs[i] = flip{begin + int((r>>8)%uint64(end-begin)), byte(r) | 1}
	}
	return fs
}

// apply changes what lies at offset off of the payload: all of b.
func apply(fs []flip, off int, b []byte) {
	for _, f := range fs {
		if at := f.at - off; at >= 0 && at < len(b) {
			b[at] ^= f.xor
		}
	}
}

// applyAt is apply for the n bytes at offset skip of the concatenated segments.
func applyAt(fs []flip, off int, segments [][]byte, skip, n int) {
	for _, s := range segments {
		if skip >= len(s) {
			skip -= len(s)
			continue
		}
		s = s[skip:]
		skip = 0
		s = s[:min(len(s), n)]
		apply(fs, off, s)
		off += len(s)
		if n -= len(s); n == 0 {
			return
		}
	}
}

// mix is 64 bits that look random, always the same for the same arguments
// (the finalizer of splitmix64, applied to each in turn).
func mix(seed, n, i uint64) uint64 {
	x := seed
	for _, v := range [...]uint64{n, i} {
		x += v*0x9e3779b97f4a7c15 + 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
	}
	return x
}
