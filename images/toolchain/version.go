package toolchain

import (
	"fmt"
	"strconv"
	"strings"
)

// A version is the first two numbers of one, all that decides here.
type version struct{ major, minor int }

// minQEMU is the first QEMU with vhost-user-test-device and vfio-user-pci.
var minQEMU = version{10, 2}

// parseVersion reads "11.1.3", or Debian's "1:11.1.3+ds-1~bpo13+1".
func parseVersion(s string) (version, bool) {
	if _, after, ok := strings.Cut(s, ":"); ok {
		s = after
	}
	major, rest, ok := strings.Cut(s, ".")
	if !ok {
		return version{}, false
	}
	end := strings.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' })
	if end < 0 {
		end = len(rest)
	}
	a, err1 := strconv.Atoi(major)
	b, err2 := strconv.Atoi(rest[:end])
	if err1 != nil || err2 != nil || a < 0 {
		return version{}, false
	}
	return version{a, b}, true
}

func (v version) less(o version) bool {
	return v.major < o.major || v.major == o.major && v.minor < o.minor
}

// String implements fmt.Stringer.
func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }
