package enclaves

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

func TestErrnos(t *testing.T) {
	seen := make(map[string]bool)
	for e := firstErrno; e <= lastErrno; e++ {
		if !strings.HasPrefix(e.Name(), "NE_ERR_") || seen[e.Name()] || !strings.Contains(e.Error(), e.Name()) {
			t.Errorf("%d: name %q, text %q", e, e.Name(), e)
		}
		seen[e.Name()] = true
	}
	for _, e := range []Errno{0, firstErrno - 1, lastErrno + 1} {
		if e.Name() != "" || e.Error() == "" {
			t.Errorf("%d: name %q, text %q", e, e.Name(), e)
		}
	}
}

func TestDriverError(t *testing.T) {
	tests := []struct {
		errno syscall.Errno
		want  error
	}{
		{syscall.EINVAL, syscall.EINVAL},
		{255, syscall.Errno(255)},
		{256, ErrVCPUAlreadyUsed},
		{269, ErrFullCoresNotUsed},
		{275, ErrInvalidEnclaveCID},
		{276, syscall.Errno(276)},
	}
	for _, tt := range tests {
		err := error(&OpError{Op: "NE_START_ENCLAVE", Err: driverError(tt.errno)})
		if !errors.Is(err, tt.want) {
			t.Errorf("errno %d is %v, want %v", int(tt.errno), err, tt.want)
		}
	}
}

func TestOpError(t *testing.T) {
	tests := []struct {
		err  OpError
		want string
	}{
		{OpError{Op: "NE_ADD_VCPU", Object: "vCPU 3", Err: ErrVCPUNotInCPUPool}, "NE_ADD_VCPU vCPU 3: the vCPU is not in the CPU pool (NE_ERR_VCPU_NOT_IN_CPU_POOL, 257)"},
		{OpError{Op: "NE_START_ENCLAVE", Err: syscall.EIO}, "NE_START_ENCLAVE: input/output error"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}
