package eif

import (
	"fmt"
	"hash/crc32"
	"io"
)

// A part is a section to be written.
type part struct {
	typ   SectionType
	flags uint16
	data  *io.SectionReader
}

// write streams an image to w, from offset 0: all parts in order, then, with a
// signer, a signature section over the PCR0 of the parts as they were written,
// then the header. It reads every part once.
func write(w io.WriteSeeker, header Header, parts []part, signer *Signer) (Measurements, error) {
	if _, err := w.Seek(HeaderSize, io.SeekStart); err != nil {
		return Measurements{}, fmt.Errorf("eif: write: %w", err)
	}
	h := newHasher()
	defer h.close()
	buf := make([]byte, chunkSize)
	sections := make([]Section, 0, len(parts)+1)
	end := int64(HeaderSize)
	add := func(p part) error {
		s := Section{Type: p.typ, Flags: p.flags, Offset: end, Size: p.data.Size()}
		b := s.encode()
		if _, err := w.Write(b[:]); err != nil {
			return fmt.Errorf("eif: write: %w", err)
		}
		h.begin(s)
		if err := copyChunks(w, p.data, h, buf); err != nil {
			return fmt.Errorf("eif: write section %d (%s): %w", len(sections), s.Type, err)
		}
		sections = append(sections, s)
		end = s.end()
		return nil
	}
	for _, p := range parts {
		if err := add(p); err != nil {
			return Measurements{}, err
		}
	}
	m := h.measurements()
	if signer != nil {
		data, err := signer.section(m.PCR0)
		if err != nil {
			return Measurements{}, err
		}
		if err := add(part{typ: SectionSignature, data: bytesSection(data)}); err != nil {
			return Measurements{}, err
		}
		m.PCR8, m.Signed = measureBytes(signer.cert.Raw), true
	}
	if err := writeHeader(w, header, sections, h.crc, end-HeaderSize); err != nil {
		return Measurements{}, err
	}
	return m, nil
}

// writeHeader completes the file with the header, given the CRC and the length
// of everything behind it.
func writeHeader(w io.WriteSeeker, header Header, sections []Section, body uint32, length int64) error {
	b := encodeHeader(header, sections)
	front := crc32.ChecksumIEEE(b[:offCRC])
	header.CRC = crcCombine(front, body, length)
	b = encodeHeader(header, sections)
	if _, err := w.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("eif: write: %w", err)
	}
	if _, err := w.Write(b[:]); err != nil {
		return fmt.Errorf("eif: write: %w", err)
	}
	return nil
}
