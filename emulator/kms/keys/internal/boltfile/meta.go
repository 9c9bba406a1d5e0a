package boltfile

import "hash/fnv"

const (
	magic    = 0xED0CDAED
	version  = 2
	metaSize = 64 // without the header of the page

	// maxTransaction leaves numbers for those to come: after the last there is 0,
	// which counts as older.
	maxTransaction = 1 << 62

	// maxPageSize is the largest page of any processor Linux runs on.
	maxPageSize = 64 << 10
)

// meta finds the meta page that bbolt will choose: the valid one of the later
// transaction.
func (f *file) meta(size int64) ([]byte, error) {
	first, err := f.metaAt(0, size)
	if err != nil {
		return nil, err
	}
	var pageSize uint32
	if first != nil {
		pageSize = order.Uint32(first[8:])
	} else if pageSize, err = f.pageSizeFromSecond(size); err != nil {
		return nil, err
	}
	if pageSize < 1024 || pageSize > maxPageSize || pageSize&(pageSize-1) != 0 {
		return nil, bad("pages of %d bytes", pageSize)
	}
	second, err := f.metaAt(int64(pageSize), size)
	switch {
	case err != nil:
		return nil, err
	case second != nil && order.Uint32(second[8:]) != pageSize:
		return nil, bad("pages of %d bytes and of %d", pageSize, order.Uint32(second[8:]))
	case first == nil || second != nil && order.Uint64(second[48:]) > order.Uint64(first[48:]):
		first = second
	}
	if n := order.Uint64(first[48:]); n > maxTransaction {
		return nil, bad("transaction %d", n)
	}
	return first, nil
}

// pageSizeFromSecond looks for the second meta page wherever bbolt does when the first
// is not valid: bbolt believes the first that it finds.
func (f *file) pageSizeFromSecond(size int64) (uint32, error) {
	for at := uint32(1024); at <= maxPageSize; at *= 2 {
		m, err := f.metaAt(int64(at), size)
		switch {
		case err != nil:
			return 0, err
		case m == nil:
		case order.Uint32(m[8:]) != at:
			return 0, bad("pages of %d bytes, the second at byte %d", order.Uint32(m[8:]), at)
		default:
			return at, nil
		}
	}
	return 0, bad("no valid meta page")
}

// metaAt reads a meta page; nil says that it is not valid.
func (f *file) metaAt(offset, size int64) ([]byte, error) {
	if offset+headerSize+metaSize > size {
		return nil, nil
	}
	m := make([]byte, metaSize)
	if _, err := f.r.ReadAt(m, offset+headerSize); err != nil {
		return nil, err
	}
	if order.Uint32(m) != magic || order.Uint32(m[4:]) != version || order.Uint64(m[56:]) != sum(m[:56]) {
		return nil, nil
	}
	return m, nil
}

func sum(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b)
	return h.Sum64()
}
