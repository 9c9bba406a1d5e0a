package enclaveproc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/images/eif"
)

// memoryRatio is how often the image must fit into the enclave's memory
// (ENCLAVE_MEMORY_EIF_SIZE_RATIO in resource_manager.rs).
const memoryRatio = 4

// checkMemory checks the memory of an enclave, in MiB, against the size of its
// image in bytes.
func checkMemory(memoryMiB uint64, imageSize int64) error {
	// Divided, not multiplied: the memory is any number that somebody typed, and
	// the file may be sparse.
	const mib, part = 1 << 20, 1 << 20 / memoryRatio
	if need := uint64(imageSize)/part + min(1, uint64(imageSize)%part); memoryMiB >= need && memoryMiB > 0 {
		return nil
	}
	// What nitro-cli prints is rounded up before it is multiplied.
	printed := (uint64(imageSize)/mib + min(1, uint64(imageSize)%mib)) * memoryRatio
	return failure.New(failure.InsufficientMemoryRequested, "at least %d MB are needed, %d times the EIF file size", printed, memoryRatio).
		With("memory", strconv.FormatUint(memoryMiB, 10), strconv.FormatUint(printed, 10))
}

// openImage opens the image file.
func openImage(path string) (f *os.File, size int64, err error) {
	// Non-blocking, so that a FIFO does not hang us.
	f, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, failure.Wrap(failure.FileOperationFailure, err, path, "Open")
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, 0, errors.Join(failure.Wrap(failure.FileOperationFailure, err, path, "Open"), f.Close())
	}
	return f, fi.Size(), nil
}

// checkSignature is nitro-cli's check before a start: a signature, if there is
// one, is the certificate's, and the certificate is valid at this time. Whether
// it is over this image is for the hypervisor to say.
//
// nitro-cli looks at no more than section headers here, so an image that is
// wrong in another way passes, for the hypervisor to refuse.
func checkSignature(r io.ReaderAt, size int64, at time.Time) error {
	im, err := eif.Open(r, size)
	if err != nil {
		signed, walkErr := findSignature(r)
		switch {
		case walkErr != nil:
			return failure.Wrap(failure.EIFSignatureCheckerError, walkErr)
		case signed:
			return failure.Wrap(failure.EIFSignatureCheckerError, err)
		}
		return nil
	}
	sig, err := im.Signature()
	if errors.Is(err, eif.ErrNotSigned) {
		return nil
	}
	if err == nil {
		if err = sig.Check(eif.Digest{}); errors.Is(err, eif.ErrSignedOther) {
			err = nil // the signature is good, and over what the hypervisor compares
		}
	}
	if err == nil {
		err = sig.CheckDates(at)
	}
	return failure.Wrap(failure.EIFSignatureCheckerError, err)
}

// findSignature walks the section headers of a file that is no proper image, as
// PcrSignatureChecker of aws-nitro-enclaves-image-format does: it fails on a file
// without a whole header and on unknown section types.
func findSignature(r io.ReaderAt) (signed bool, err error) {
	var header [eif.HeaderSize]byte
	if _, err := r.ReadAt(header[:], 0); err != nil {
		return false, fmt.Errorf("read EIF header: %w", err)
	}
	offset := uint64(len(header))
	var section [eif.SectionHeaderSize]byte
	// There are no more sections in anything that the hypervisor would take.
	for range eif.MaxSections {
		if offset > 1<<62 {
			return false, nil
		}
		if n, _ := r.ReadAt(section[:], int64(offset)); n < len(section) {
			return false, nil
		}
		switch typ := eif.SectionType(binary.BigEndian.Uint16(section[:])); {
		case typ == eif.SectionSignature:
			return true, nil
		case typ > eif.SectionMetadata:
			return false, fmt.Errorf("section type %d is unknown", typ)
		}
		size := binary.BigEndian.Uint64(section[4:])
		if size > 1<<62 {
			return false, nil
		}
		offset += uint64(len(section)) + size
	}
	return false, nil
}

// A measurement is what an image says about itself, for describe-enclaves.
type measurement struct {
	measurements eif.Measurements
	metadata     *eif.Metadata
}

// measure reads the whole image. It stops early if ctx ends.
func measure(ctx context.Context, f *os.File, size int64) (m measurement, err error) {
	im, err := eif.Open(contextReader{ctx, f}, size)
	if err != nil {
		return m, failure.Wrap(failure.EIFParsingError, err)
	}
	if m.measurements, err = im.Measure(); err != nil {
		return m, failure.Wrap(failure.EIFParsingError, err)
	}
	// Metadata boots nothing: an image whose metadata makes no sense has none.
	m.metadata, _ = im.Metadata()
	return m, nil
}

type contextReader struct {
	ctx context.Context
	io.ReaderAt
}

func (c contextReader) ReadAt(p []byte, off int64) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.ReaderAt.ReadAt(p, off)
}
