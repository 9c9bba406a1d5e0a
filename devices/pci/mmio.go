package pci

import "fmt"

// ReadBAR reads len(p) bytes at off of a BAR. While the driver has switched off
// decoding of the BAR's kind, or the function sleeps, nobody answers on the bus:
// p is then all ones, as it is where a backing file cannot be read.
//
// The error is an [*AccessError], for a range that is not wholly inside an
// implemented BAR; p is then unspecified.
func (f *Function) ReadBAR(bar int, off uint64, p []byte) error {
	b, err := f.bar(bar, off, len(p))
	if err != nil {
		return err
	}
	if !f.decodes(b) {
		ones(p)
		return nil
	}
	if b.File != nil {
		if _, err := b.File.ReadAt(p, int64(off)); err != nil {
			ones(p)
		}
		return nil
	}
	clear(p)
	for len(p) > 0 {
		n := piece(off, len(p))
		switch {
		case f.msix.covers(bar, off):
			f.mu.Lock()
			f.msix.read(off, p[:n])
			f.mu.Unlock()
		case b.Handler != nil:
			b.Handler.ReadBAR(off, p[:n])
		}
		off, p = off+uint64(n), p[n:]
	}
	return nil
}

// WriteBAR writes p at off of a BAR. Where ReadBAR would return all ones, it does
// nothing. The error is an [*AccessError] as for ReadBAR.
func (f *Function) WriteBAR(bar int, off uint64, p []byte) error {
	b, err := f.bar(bar, off, len(p))
	if err != nil {
		return err
	}
	if !f.decodes(b) {
		return nil
	}
	if b.File != nil {
		// A file that cannot be written is a ROM to the guest: posted writes
		// have nobody to tell.
		_, _ = b.File.WriteAt(p, int64(off))
		return nil
	}
	for len(p) > 0 {
		n := piece(off, len(p))
		switch {
		case f.msix.covers(bar, off):
			f.mu.Lock()
			if v := f.msix.write(off, p[:n]); v >= 0 {
				f.flushMSIX(v, 1)
			}
			f.mu.Unlock()
		case b.Handler != nil:
			b.Handler.WriteBAR(off, p[:n])
		}
		off, p = off+uint64(n), p[n:]
	}
	return nil
}

// bar returns the BAR that holds all n bytes at off.
func (f *Function) bar(i int, off uint64, n int) (*BAR, error) {
	if i < 0 || i >= numBARs || off > f.bars[i].Size || uint64(n) > f.bars[i].Size-off {
		return nil, &AccessError{Space: fmt.Sprintf("BAR %d", i), Offset: off, Len: n}
	}
	return &f.bars[i], nil
}

// decodes reports whether the function answers for b.
func (f *Function) decodes(b *BAR) bool {
	want := CommandMemory
	if b.IO {
		want = CommandIO
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return Command(f.space.get16(regCommand))&want != 0 && f.power.awake(f.space)
}

// piece is the length of the largest naturally aligned access, up to 8 bytes, that
// begins n bytes at off.
func piece(off uint64, n int) int {
	size := 8
	for size > n || off&uint64(size-1) != 0 {
		size /= 2
	}
	return size
}

func ones(p []byte) {
	for i := range p {
		p[i] = 0xff
	}
}
