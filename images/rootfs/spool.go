package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// A Spool keeps file contents in one temporary file that has no name, so that
// nothing stays behind whatever happens. Use [NewSpool]. A Spool is not safe
// for concurrent use; its Contents are.
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

// Add copies r to its end and returns the content and its size. More bytes than
// the limit in all are [ErrTooMany].
func (s *Spool) Add(r io.Reader) (Content, int64, error) {
	start := s.size
	room := s.limit - start
	n, err := io.Copy(io.NewOffsetWriter(s.f, start), io.LimitReader(r, room+1))
	if err != nil {
		return nil, 0, err
	}
	if n > room {
		return nil, 0, fmt.Errorf("%w: allowed are %d bytes", ErrTooMany, s.limit)
	}
	s.size += n
	return spooled{s.f, start, n}, n, nil
}

// Close frees the disk space. Contents must not be opened afterwards.
func (s *Spool) Close() error { return s.f.Close() }

type spooled struct {
	f         *os.File
	off, size int64
}

// Open implements Content.
func (s spooled) Open() (io.ReaderAt, error) { return io.NewSectionReader(s.f, s.off, s.size), nil }

// Bytes is content that is in memory.
type Bytes []byte

// Open implements Content.
func (b Bytes) Open() (io.ReaderAt, error) { return bytes.NewReader(b), nil }

// ReaderAt is content of a reader that stays open for as long as the tree is
// used.
type ReaderAt struct{ io.ReaderAt }

// Open implements Content. The result is not closed.
func (r ReaderAt) Open() (io.ReaderAt, error) { return struct{ io.ReaderAt }{r.ReaderAt}, nil }
