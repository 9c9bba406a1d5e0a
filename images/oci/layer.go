package oci

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/nitrolab/nitrolab/images/rootfs"
)

// maxWindow bounds the memory of a zstd decoder; zstd's own tools go up to
// 128 MiB without being asked.
const maxWindow = 128 << 20

// A budget is how many bytes all layers together may still expand to.
type budget struct{ left, all int64 }

// A layerReader yields the tar of a layer, counts it against the budget and
// hashes it.
type layerReader struct {
	r      io.Reader
	close  func() error
	sum    hash.Hash
	budget *budget
}

// openLayer opens a layer, whatever it is compressed with.
func openLayer(ctx context.Context, s store, l layer, b *budget) (*layerReader, error) {
	f, err := s.open(l.file)
	if err != nil {
		return nil, err
	}
	lr := &layerReader{close: f.Close, sum: sha256.New(), budget: b}
	br := bufio.NewReaderSize(contextReader{ctx, f}, 64<<10)
	head, _ := br.Peek(4) // shorter layers are not compressed
	switch {
	case len(head) >= 2 && [2]byte(head[:2]) == gzipMagic:
		lr.r, err = gzip.NewReader(br)
	case string(head) == "\x28\xb5\x2f\xfd":
		var d *zstd.Decoder
		d, err = zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err == nil {
			lr.r = d
			lr.close = func() error { d.Close(); return f.Close() }
		}
	default:
		lr.r = br
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return lr, nil
}

// Read implements io.Reader.
func (l *layerReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.sum.Write(p[:n])
	if l.budget.left -= int64(n); l.budget.left < 0 {
		return 0, fmt.Errorf("%w: layers may expand to %d bytes", rootfs.ErrTooMany, l.budget.all)
	}
	return n, err
}

// finish reads what is left and compares the digest.
func (l *layerReader) finish(want v1.Hash) error {
	if _, err := io.Copy(io.Discard, l); err != nil {
		return err
	}
	if got := hex.EncodeToString(l.sum.Sum(nil)); want.Algorithm != "sha256" || got != want.Hex {
		return fmt.Errorf("content has the digest sha256:%s, the configuration says %s", got, want)
	}
	return nil
}
