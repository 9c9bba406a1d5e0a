package enclaves_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/enclaves"
)

func TestRequestBytes(t *testing.T) {
	for _, tt := range []struct {
		c    enclaves.Command
		name string
		r    enclaves.Request
		want string
	}{
		{1, "ENCLAVE_START", enclaves.StartRequest{SlotUID: 0x0102030405060708, CID: 16, Flags: 1},
			"0807060504030201" + "1000000000000000" + "0100000000000000"},
		{2, "ENCLAVE_GET_SLOT", enclaves.GetSlotRequest{CID: 0x11}, "1100000000000000"},
		{3, "ENCLAVE_STOP", enclaves.SlotRequest{SlotUID: 2}, "0200000000000000"},
		{4, "SLOT_ALLOC", enclaves.EmptyRequest{}, "00"},
		{5, "SLOT_FREE", enclaves.SlotRequest{SlotUID: 3}, "0300000000000000"},
		{6, "SLOT_ADD_MEM", enclaves.AddMemRequest{SlotUID: 4, Region: enclaves.Region{Addr: 0x200000, Size: 0x400000}},
			"0400000000000000" + "0000200000000000" + "0000400000000000"},
		{7, "SLOT_ADD_VCPU", enclaves.AddVCPURequest{SlotUID: 5, VCPU: 0xfffffffe}, "0500000000000000" + "feffffff00000000"},
		{8, "SLOT_COUNT", enclaves.EmptyRequest{}, "00"},
		{9, "NEXT_SLOT", enclaves.SlotRequest{SlotUID: 6}, "0600000000000000"},
		{10, "SLOT_INFO", enclaves.SlotRequest{SlotUID: 7}, "0700000000000000"},
		{11, "SLOT_ADD_BULK_VCPUS", enclaves.AddBulkVCPUsRequest{SlotUID: 8, Count: 9}, "0800000000000000" + "0900000000000000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.c.String(); got != tt.name {
				t.Errorf("name %q", got)
			}
			b := tt.r.AppendTo([]byte("x"))
			if got := hex.EncodeToString(b[1:]); got != tt.want {
				t.Errorf("request %s, want %s", got, tt.want)
			}
			if got := tt.c.RequestSize(); got != len(b)-1 {
				t.Errorf("size %d, want %d", got, len(b)-1)
			}
		})
	}
	for _, c := range []enclaves.Command{0, 12, 0xffffffff} {
		if got := c.RequestSize(); got != 0 {
			t.Errorf("size of command %d: %d", c, got)
		}
		if got, want := c.String(), fmt.Sprintf("command %d", uint32(c)); got != want {
			t.Errorf("name %q, want %q", got, want)
		}
	}
}

func TestReplyBytes(t *testing.T) {
	r := enclaves.Reply{
		RC: -17, SlotUID: 0x1112131415161718, CID: 2, SlotCount: 3, MemRegions: 4, MemSize: 5, VCPUs: 6,
		Flags: 7, State: enclaves.StateStopped,
	}
	b := r.AppendTo(nil)
	want := "efffffff00000000" + "1817161514131211" + "0200000000000000" + "0300000000000000" + "0400000000000000" +
		"0500000000000000" + "0600000000000000" + "0700000000000000" + "ffff000000000000"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("reply\n%s, want\n%s", got, want)
	}
	got, err := enclaves.ParseReply(append(b, 1, 2, 3))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got); diff != "" {
		t.Error(diff)
	}
	if err := got.Err(); err != syscall.EEXIST {
		t.Errorf("error %v", err)
	}
	if err := (enclaves.Reply{RC: 1}).Err(); err != nil {
		t.Errorf("error %v of a positive rc", err)
	}
	if _, err := enclaves.ParseReply(b[:71]); err == nil {
		t.Error("71 bytes parsed")
	}
}

func TestStateNames(t *testing.T) {
	got := fmt.Sprint(enclaves.StateInit, enclaves.StateRunning, enclaves.StateStopped, enclaves.State(3))
	if want := "init running stopped state 3"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if enclaves.StateRunning != 2 || enclaves.StateStopped != 0xffff {
		t.Error("not the driver's numbers")
	}
}

func TestErrno(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0},
		{syscall.EADDRINUSE, 98}, // the number, not only the name
		{fmt.Errorf("image: %w", syscall.ENOEXEC), 8},
		{syscall.Errno(0), 5}, // an error without a number is one nevertheless
		{syscall.Errno(4096), 5},
		{fmt.Errorf("launch: %w", context.DeadlineExceeded), 110},
		{context.Canceled, 125},
		{fs.ErrInvalid, 22},
		{fs.ErrPermission, 1},
		{fs.ErrExist, 17},
		{&fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}, 2},
		{fmt.Errorf("no idea"), 5},
	} {
		if got := enclaves.Errno(tt.err); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.err, got, tt.want)
		}
	}
}
