package rootfs

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// A Spool keeps file contents in one temporary file that has no name, so that
// nothing stays behind whatever happens. Use [NewSpool]. A Spool is not safe
// for concurrent use; the contents are.
type Spool struct {
	f     *os.File
	size  int64
	limit int64
}

// NewSpool makes a spool in the directory dir, or in the system's directory for
// temporary files if dir is empty.
func NewSpool(dir string, l Limits) (*Spool, error) {
	f, err := os.CreateTemp(dir, "nitrolab-spool-")
	if err != nil {
		return nil, fmt.Errorf("rootfs: spool: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("rootfs: spool: %w", err), f.Close())
	}
	return &Spool{f: f, limit: l.WithDefaults().Bytes}, nil
}

// Add copies r to its end and returns the content. More bytes than the limit in
// all are [ErrTooMany].
func (s *Spool) Add(r io.Reader) (*io.SectionReader, error) {
	start := s.size
	room := s.limit - start
	n, err := io.Copy(io.NewOffsetWriter(s.f, start), io.LimitReader(r, room+1))
	if err != nil {
		return nil, err
	}
	if n > room {
		return nil, fmt.Errorf("%w: allowed are %d bytes", ErrTooMany, s.limit)
	}
	s.size += n
	return io.NewSectionReader(s.f, start, n), nil
}

// Close frees the disk space. Contents cannot be read afterwards.
func (s *Spool) Close() error { return s.f.Close() }
