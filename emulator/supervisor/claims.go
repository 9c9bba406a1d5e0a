package supervisor

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/emulator"
)

// Claims are what a guest has that no other guest of the same user has: its name,
// and, as an enclave, its CID. Each supervisor has a Host of its own, so nothing else
// would keep two of them from choosing CID 16.
//
// A claim is a lock on one byte of an empty file in the base directory: the byte
// numbered by the CID, or one beyond all CIDs by the name. The kernel gives locks
// of an open file description (fcntl(2), F_OFD_SETLK) to one holder only, and
// takes them back when that one ends, however it ends. So there is no race and
// nothing to clean up.
type claims struct{ f *os.File }

const (
	claimsName = ".claims"

	// firstCID is where the choice of CIDs begins, as the hypervisor's.
	firstCID = 16

	// maxSameName is how many enclaves may have names that differ in the number
	// only.
	maxSameName = 1000
)

// openClaims opens the file of a base directory. Closing the claims gives back
// all that were made with them.
func openClaims(base string) (*claims, error) {
	f, err := os.OpenFile(filepath.Join(base, claimsName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("claim CID and name: %w", err)
	}
	return &claims{f}, nil
}

func (c *claims) close() { _ = c.f.Close() }

// take claims a byte; false says that somebody else has it.
func (c *claims) take(at int64) (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: int16(io.SeekStart), Start: at, Len: 1}
	err := unix.FcntlFlock(c.f.Fd(), unix.F_OFD_SETLK, &lock)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
		return false, nil
	}
	return false, fmt.Errorf("claim CID and name: lock %s: %w", c.f.Name(), err)
}

// cid claims the CID that is wanted, or the lowest free one for 0.
func (c *claims) cid(wanted uint32) (uint32, error) {
	if wanted != 0 {
		ok, err := c.take(int64(wanted))
		if err == nil && !ok {
			err = &emulator.RequestError{
				Field:   "enclave CID",
				Found:   fmt.Sprintf("%d, which another enclave of yours has (nitrolab describe-enclaves lists them)", wanted),
				Allowed: "one that is free, or 0 to choose one",
			}
		}
		return wanted, err
	}
	for cid := uint32(firstCID); cid != vsock.CIDAny; cid++ {
		if ok, err := c.take(int64(cid)); err != nil || ok {
			return cid, err
		}
	}
	return 0, errors.New("claim CID and name: no CID is free")
}

// nextName claims the name that is wanted or, if another guest has it, the next of
// NAME_1, NAME_2 and so on, as nitro-cli does (src/lib.rs, new_enclave_name).
func (c *claims) nextName(wanted string) (string, error) {
	name := wanted
	for i := 1; i <= maxSameName; i++ {
		if ok, err := c.take(nameByte(name)); err != nil || ok {
			return name, err
		}
		name = fmt.Sprintf("%s_%d", wanted, i)
	}
	return "", fmt.Errorf("enclave name is %q, which %d enclaves have already", wanted, maxSameName)
}

// exactName claims the name that is wanted or none. Whoever names an instance means
// to speak to that one.
func (c *claims) exactName(wanted string) error {
	ok, err := c.take(nameByte(wanted))
	if err == nil && !ok {
		err = &emulator.RequestError{
			Field:   "instance name",
			Found:   fmt.Sprintf("%q, which another instance or enclave of yours has (nitrolab ps lists them)", wanted),
			Allowed: "one that is free, or none",
		}
	}
	return err
}

// nameByte is the place of a name: beyond all CIDs, within what an off_t holds.
func nameByte(name string) int64 {
	sum := sha256.Sum256([]byte(name))
	return 1<<32 + int64(binary.BigEndian.Uint64(sum[:])>>2)
}
