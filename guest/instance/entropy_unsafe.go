package instance

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/guest/instance/control"
)

// poolInfo is struct rand_pool_info of include/uapi/linux/random.h.
type poolInfo struct {
	entropyCount int32 // bits
	bufSize      int32 // bytes
	buf          [control.MaxSeed]byte
}

// AddEntropy credits all bits of the seed: it comes from the Host, which has no
// reason to lie to a guest whose memory it can read. The reseed matters more than
// the credit: without it each CPU goes on with the key that the snapshot had, for
// up to a minute (drivers/char/random.c, CRNG_RESEED_INTERVAL).
func (realMachine) AddEntropy(seed []byte) error {
	if len(seed) > control.MaxSeed {
		return fmt.Errorf("seed of %d bytes", len(seed))
	}
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info := &poolInfo{entropyCount: int32(len(seed)) * 8, bufSize: int32(len(seed))}
	copy(info.buf[:], seed)
	defer clear(info.buf[:])
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(info))); errno != 0 {
		return fmt.Errorf("add entropy: %w", errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDRESEEDCRNG, 0); errno != 0 {
		return fmt.Errorf("reseed: %w", errno)
	}
	return nil
}
