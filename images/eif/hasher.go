package eif

import (
	"crypto/sha512"
	"hash"
	"hash/crc32"
)

// chunkSize is how much is read, hashed and written at a time: hundreds of
// microseconds of hashing, beside which handing a chunk to the second lane
// costs nothing.
const chunkSize = 256 << 10

// A hasher takes the sections of an image in file order and computes PCR0 to
// PCR2 and the CRC in one pass.
//
// Every measured byte goes into PCR0 and into either PCR1 or PCR2, so two
// hashes run side by side: PCR0 in the caller's goroutine, the other one in a
// second lane. close ends the lane.
type hasher struct {
	image, bootstrap, app hash.Hash
	crc                   uint32

	typ      SectionType // of the current section
	other    hash.Hash   // bootstrap or app for the current section, else nil
	ramdisks int

	work chan lanework // to the second lane
	done chan struct{} // from the second lane, one per piece of work
}

type lanework struct {
	h hash.Hash
	p []byte
}

func newHasher() *hasher {
	h := &hasher{
		image:     sha512.New384(),
		bootstrap: sha512.New384(),
		app:       sha512.New384(),
		work:      make(chan lanework),
		done:      make(chan struct{}),
	}
	go func() {
		defer close(h.done)
		for w := range h.work {
			w.h.Write(w.p)
			h.done <- struct{}{}
		}
	}()
	return h
}

// close ends the second lane and waits for it.
func (h *hasher) close() {
	close(h.work)
	<-h.done
}

// header adds the file header, without its CRC field, to the CRC.
func (h *hasher) header(b []byte) { h.crc = crc32.Update(h.crc, crc32.IEEETable, b) }

// begin starts the next section: its header goes into the CRC only.
func (h *hasher) begin(s Section) {
	b := s.encode()
	h.crc = crc32.Update(h.crc, crc32.IEEETable, b[:])
	h.typ, h.other = s.Type, nil
	switch s.Type {
	case SectionKernel, SectionCmdline:
		h.other = h.bootstrap
	case SectionRamdisk:
		h.other = h.app
		if h.ramdisks == 0 {
			h.other = h.bootstrap
		}
		h.ramdisks++
	}
}

// write adds data of the current section. It returns when p may be reused.
func (h *hasher) write(p []byte) {
	if h.other != nil {
		h.work <- lanework{h.other, p}
		h.image.Write(p)
	}
	h.crc = crc32.Update(h.crc, crc32.IEEETable, p)
	if h.other != nil {
		<-h.done
	}
}

// measurements are PCR0 to PCR2 of what was written so far.
func (h *hasher) measurements() Measurements {
	return Measurements{PCR0: measure(h.image), PCR1: measure(h.bootstrap), PCR2: measure(h.app)}
}

// measure is M(x) = SHA384(0^48 || SHA384(x)) for the x written to h: the
// value of a zero PCR that was extended once with the digest of x.
func measure(h hash.Hash) Digest {
	var b [2 * sha512.Size384]byte
	h.Sum(b[:sha512.Size384])
	return sha512.Sum384(b[:])
}

// measureBytes is M(x).
func measureBytes(x []byte) Digest {
	h := sha512.New384()
	h.Write(x)
	return measure(h)
}
