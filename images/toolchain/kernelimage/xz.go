package kernelimage

import (
	"fmt"

	"github.com/nitrolab/nitrolab/images/internal/xz"
)

// unpackXZ unpacks what the kernel's build packs with "xz --check=crc32 --x86
// --lzma2=dict=..." (scripts/xz_wrap.sh), at most limit bytes. CRC32 is the only
// check that the kernel's own decoder knows; it refuses others (lib/xz,
// without XZ_DEC_ANY_CHECK), so that such a kernel does not boot.
func unpackXZ(packed []byte, limit int64) ([]byte, error) {
	const checkAt, crc32 = 7, 0x01 // second byte of the stream flags; 0 is no check
	if len(packed) > checkAt && packed[checkAt] > crc32 {
		return nil, fmt.Errorf("xz check %#x, which the kernel's own decoder refuses: %w", packed[checkAt], ErrFormat)
	}
	out, err := xz.Unpack(packed, limit)
	if err != nil {
		return nil, damaged(err)
	}
	return out, nil
}
