package harness_test

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/nitrolab/nitrolab/images/eif"
)

// Offsets of the file header (specification, "EIF header").
const (
	offVersion = 0x004
	offFlags   = 0x006
	offNum     = 0x01a
	offOffsets = 0x01c
	offSizes   = 0x11c
	offCRC     = 0x220
)

var be = binary.BigEndian

// put16 writes one field of the header.
func put16(off int, v uint16) func([]byte) []byte {
	return func(b []byte) []byte { be.PutUint16(b[off:], v); return b }
}

// sections cuts an image into its header, without tables, and its sections with
// their headers.
func sections(b []byte) (head []byte, list [][]byte) {
	head = slices.Clone(b[:eif.HeaderSize])
	clear(head[offOffsets:offCRC])
	for i := range int(be.Uint16(b[offNum:])) {
		at, size := be.Uint64(b[offOffsets+8*i:]), be.Uint64(b[offSizes+8*i:])
		list = append(list, b[at:at+eif.SectionHeaderSize+size])
	}
	return head, list
}

// join is the inverse of sections. The CRC is left wrong.
func join(head []byte, list [][]byte) []byte {
	b := slices.Clone(head)
	be.PutUint16(b[offNum:], uint16(len(list)))
	for i, s := range list {
		be.PutUint64(b[offOffsets+8*i:], uint64(len(b)))
		be.PutUint64(b[offSizes+8*i:], uint64(len(s)-eif.SectionHeaderSize))
		b = append(b, s...)
	}
	return b
}

// dropSections takes the sections of these types out, as a builder that forgot
// them would.
func dropSections(types ...eif.SectionType) func([]byte) []byte {
	return func(b []byte) []byte {
		head, list := sections(b)
		return join(head, slices.DeleteFunc(list, func(s []byte) bool {
			return slices.Contains(types, eif.SectionType(be.Uint16(s)))
		}))
	}
}

// graft appends the last section of an image to another one.
func graft(to, from []byte) []byte {
	head, list := sections(to)
	_, others := sections(from)
	return join(head, append(list, others[len(others)-1]))
}

// fixCRC sets the header's CRC-32, over all but itself.
func fixCRC(b []byte) {
	if len(b) < eif.HeaderSize {
		return
	}
	crc := crc32.ChecksumIEEE(b[:offCRC])
	be.PutUint32(b[offCRC:], crc32.Update(crc, crc32.IEEETable, b[offCRC+4:]))
}
