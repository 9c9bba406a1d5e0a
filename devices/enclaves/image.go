package enclaves

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
)

// ImageReader is the donated memory as one piece, in the order of donation,
// from [ImageOffset] on, which is where the image begins. mem is read at
// guest-physical addresses. The size in bytes is that of everything behind the
// offset, 0 if there is nothing: the image's own length is in its header.
//
// Regions may have any size and address, but reading one whose addresses mem
// cannot express (beyond 2^63) is an error, and what lies behind 2^63 bytes is
// not part of the size. The reader is as safe for concurrent use as mem, and
// allocates nothing.
func ImageReader(mem io.ReaderAt, regions []Region) (io.ReaderAt, int64) {
	r := &imageReader{mem: mem, regions: make([]Region, 0, len(regions)), ends: make([]int64, 0, len(regions))}
	skip, size := uint64(ImageOffset), int64(0)
	for _, g := range regions {
		if g.Size <= skip {
			skip -= g.Size
			continue
		}
		if g.Addr += skip; g.Addr < skip { // wrapped around: keep it out of reach
			g.Addr = math.MaxUint64
		}
		g.Size -= skip
		skip = 0
		if g.Size > uint64(math.MaxInt64-size) {
			g.Size = uint64(math.MaxInt64 - size)
		}
		if g.Size == 0 {
			break
		}
		size += int64(g.Size)
		r.regions = append(r.regions, g)
		r.ends = append(r.ends, size)
	}
	return r, size
}

type imageReader struct {
	mem     io.ReaderAt
	regions []Region
	ends    []int64 // ends[i] is the offset behind regions[i]; ascending
}

var errNegativeOffset = errors.New("read image: negative offset")

// ReadAt implements [io.ReaderAt].
func (r *imageReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errNegativeOffset
	}
	i := sort.Search(len(r.ends), func(i int) bool { return r.ends[i] > off })
	done := 0
	for ; done < len(p); i++ {
		if i == len(r.ends) {
			return done, io.EOF
		}
		g := r.regions[i]
		left := r.ends[i] - off
		at := g.Addr + (g.Size - uint64(left))
		n := int(min(int64(len(p)-done), left))
		if at < g.Addr || at > math.MaxInt64-uint64(n) {
			return done, fmt.Errorf("read image: region %#x+%#x: %w", g.Addr, g.Size, errBeyond)
		}
		m, err := r.mem.ReadAt(p[done:done+n], int64(at))
		done += m
		off += int64(m)
		if m < n {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return done, fmt.Errorf("read image: region %#x+%#x: %w", g.Addr, g.Size, noEOF(err))
		}
	}
	return done, nil
}

var errBeyond = errors.New("address beyond 2^63")

// noEOF keeps the end of the parent's memory apart from the end of the image.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
