package eif

import (
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
)

// hashAlgorithm is the value nitro-cli prints and AWS documents: Rust's debug
// form of its hasher. A nitro-cli 1.5.0 built with its own lock file prints
// hashAlgorithmNew instead, as a newer hasher calls itself.
const (
	hashAlgorithm    = "Sha384 { ... }"
	hashAlgorithmNew = "Sha512_48 { .. }"
)

// A Digest is a SHA-384 value: what a PCR holds.
type Digest [sha512.Size384]byte

// String is the lower-case hex form.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText is String.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads 96 hex digits.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("eif: digest has %d characters, allowed are %d hex digits", len(b), hex.EncodedLen(len(d)))
	}
	if _, err := hex.Decode(d[:], b); err != nil {
		return fmt.Errorf("eif: digest: %w", err)
	}
	return nil
}

// Measurements are the PCRs that an image determines. They cover section data
// without section headers, in file order: the metadata and the signature are
// not in PCR0 to PCR2.
type Measurements struct {
	// PCR0 covers the kernel, the command line and all ramdisks.
	PCR0 Digest
	// PCR1 covers the kernel, the command line and the first ramdisk.
	PCR1 Digest
	// PCR2 covers the ramdisks behind the first one, possibly none.
	PCR2 Digest
	// PCR8 covers the DER form of the signing certificate. It is zero when
	// Signed is false.
	PCR8   Digest
	Signed bool
}

// measurementsJSON is the order and the names of nitro-cli.
type measurementsJSON struct {
	HashAlgorithm string
	PCR0          Digest
	PCR1          Digest
	PCR2          Digest
	PCR8          *Digest `json:",omitempty"`
}

// MarshalJSON gives nitro-cli's object: HashAlgorithm, PCR0, PCR1, PCR2, and
// PCR8 for a signed image.
func (m Measurements) MarshalJSON() ([]byte, error) {
	out := measurementsJSON{HashAlgorithm: hashAlgorithm, PCR0: m.PCR0, PCR1: m.PCR1, PCR2: m.PCR2}
	if m.Signed {
		out.PCR8 = &m.PCR8
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads nitro-cli's object, of any of its versions.
func (m *Measurements) UnmarshalJSON(b []byte) error {
	var in measurementsJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return fmt.Errorf("eif: measurements: %w", err)
	}
	if in.HashAlgorithm != hashAlgorithm && in.HashAlgorithm != hashAlgorithmNew {
		return fmt.Errorf("eif: measurements: hash algorithm is %q, allowed is %q", in.HashAlgorithm, hashAlgorithm)
	}
	*m = Measurements{PCR0: in.PCR0, PCR1: in.PCR1, PCR2: in.PCR2}
	if in.PCR8 != nil {
		m.PCR8, m.Signed = *in.PCR8, true
	}
	return nil
}

// A BuildInfo is what nitro-cli's build-enclave and sign-eif print.
type BuildInfo struct {
	Measurements Measurements `json:"Measurements"`
}

// Measure streams the image once and returns its measurements. It does not
// check the CRC; [Image.Verify] does both for the same price.
func (im *Image) Measure() (Measurements, error) {
	m, _, err := im.scan()
	return m, err
}

// Verify streams the image once, checks the CRC and returns the measurements.
// A wrong CRC is a [*FormatError] of the field "eif_crc32". A signature is not
// checked, see [Image.CheckSignature].
func (im *Image) Verify() (Measurements, error) {
	m, crc, err := im.scan()
	if err != nil {
		return Measurements{}, err
	}
	if crc != im.header.CRC {
		return Measurements{}, &FormatError{
			Field:   "eif_crc32",
			Found:   fmt.Sprintf("%#08x", im.header.CRC),
			Allowed: fmt.Sprintf("the file's content gives %#08x", crc),
			Offset:  offCRC,
		}
	}
	return m, nil
}

// scan reads the whole image through one buffer and returns its measurements
// and the CRC of its content.
func (im *Image) scan() (Measurements, uint32, error) {
	h := newHasher()
	defer h.close()
	h.header(im.raw[:offCRC])
	buf := make([]byte, chunkSize)
	for i, s := range im.sections {
		h.begin(s)
		if err := copyChunks(io.Discard, im.data(s), h, buf); err != nil {
			return Measurements{}, 0, fmt.Errorf("eif: read %s: %w", im.name(i), err)
		}
	}
	m := h.measurements()
	sig, err := im.Signature()
	switch {
	case err == nil:
		m.PCR8, m.Signed = sig.PCR8(), true
	case !isNotSigned(err):
		return Measurements{}, 0, err
	}
	return m, h.crc, nil
}

// copyChunks copies all of r to w in chunks of buf, each one hashed on the way.
func copyChunks(w io.Writer, r *io.SectionReader, h *hasher, buf []byte) error {
	for off := int64(0); off < r.Size(); {
		p := buf[:min(int64(len(buf)), r.Size()-off)]
		if err := readFull(r, p, off); err != nil {
			return err
		}
		h.write(p)
		if _, err := w.Write(p); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}
