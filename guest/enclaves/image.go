package enclaves

import (
	"errors"
	"fmt"
	"io"
)

// ErrImageTooLarge says that an image does not fit into the memory.
var ErrImageTooLarge = errors.New("the image does not fit into the enclave's memory")

// WriteImage copies the first size bytes of r to offset bytes behind the start
// of the memory, page by page. It wraps [ErrImageTooLarge] or an error of r; a
// file that is shorter by now is [io.ErrUnexpectedEOF].
func (m *Memory) WriteImage(r io.ReaderAt, size int64, offset uint64) error {
	total := m.Size()
	if size < 0 || offset > total || uint64(size) > total-offset {
		return fmt.Errorf("write image of %d bytes at %d: %w of %d bytes", size, offset, ErrImageTooLarge, total)
	}
	var written int64
	for _, p := range m.pages {
		n := uint64(len(p.Bytes))
		if offset >= n {
			offset -= n
			continue
		}
		part := p.Bytes[offset:]
		offset = 0
		part = part[:min(int64(len(part)), size-written)]
		if len(part) == 0 {
			break
		}
		if n, err := r.ReadAt(part, written); n < len(part) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("write image: read at %d: %w", written+int64(n), err)
		}
		written += int64(len(part))
	}
	return nil
}
