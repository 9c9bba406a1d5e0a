package nsm_test

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

func TestBankLocksAreOneWay(t *testing.T) {
	var b nsm.Bank
	first, err := b.Extend(31, []byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Lock(31); err != nil {
		t.Fatal(err)
	}
	if err := b.Lock(31); !errors.Is(err, wire.ReadOnlyIndex) {
		t.Errorf("second lock: %v, want ReadOnlyIndex", err)
	}
	if _, err := b.Extend(31, nil); !errors.Is(err, wire.ReadOnlyIndex) {
		t.Errorf("extend: %v, want ReadOnlyIndex", err)
	}
	value, locked, err := b.Describe(31)
	if value != first || !locked || err != nil {
		t.Errorf("locked PCR is %x, %t, %v; want %x", value, locked, err, first)
	}
}

func TestBankRange(t *testing.T) {
	for _, tt := range []struct {
		n    uint16
		want error
	}{
		{0, nil},
		{1, nil},
		{31, nil},
		{32, nil},
		{33, wire.InvalidIndex},
		{65535, wire.InvalidIndex},
	} {
		var b nsm.Bank
		if err := b.Lock(0); err != nil {
			t.Fatal(err)
		}
		if err := b.LockRange(tt.n); !errors.Is(err, tt.want) {
			t.Errorf("range %d: %v, want %v", tt.n, err, tt.want)
		}
		want := []uint16{0}
		for i := uint16(1); tt.want == nil && i < tt.n; i++ {
			want = append(want, i)
		}
		if got := b.LockedIndexes(); !slices.Equal(got, want) {
			t.Errorf("range %d locked %v, want %v", tt.n, got, want)
		}
	}
}

func TestBankBeyondLastPCR(t *testing.T) {
	for _, i := range []uint16{32, 64, 65535} {
		var b, fresh nsm.Bank
		if _, _, err := b.Describe(i); !errors.Is(err, wire.InvalidIndex) {
			t.Errorf("describe %d: %v", i, err)
		}
		if _, err := b.Extend(i, nil); !errors.Is(err, wire.InvalidIndex) {
			t.Errorf("extend %d: %v", i, err)
		}
		if err := b.Lock(i); !errors.Is(err, wire.InvalidIndex) {
			t.Errorf("lock %d: %v", i, err)
		}
		if b != fresh {
			t.Errorf("PCR %d changed the bank", i)
		}
	}
}

func TestBankLockedIsASnapshot(t *testing.T) {
	var b nsm.Bank
	if _, err := b.Extend(5, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := b.Lock(5); err != nil {
		t.Fatal(err)
	}
	value, _, err := b.Describe(5)
	if err != nil {
		t.Fatal(err)
	}
	snapshot := b.Locked()
	if err := b.LockRange(32); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[uint16]wire.PCR{5: value}, snapshot); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// The known answers of enclave-abi.md, section 4.4.
func TestParentPCRs(t *testing.T) {
	for _, tt := range []struct {
		name string
		got  wire.PCR
		want string
	}{
		{
			"role", nsm.RolePCR("arn:aws:iam::123456789012:role/Webserver"),
			"78fce75db17cd4e0a3fb8dad3ad128ca5e77edbb2b2c7f75329dccd99aa5f6ef4fc1f1a452e315b9e98f9e312e6921e6",
		},
		{
			"instance", nsm.InstancePCR("i-1234567890abcdef0"),
			"08f996b5d43e047a9eb51e7f548bfee7e164fd7dc8f65541f2ac09d6545ac812719327281c401a67a10fcba87ae79ce0",
		},
	} {
		if got := hex.EncodeToString(tt.got[:]); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	// Seen in a real document; the middle is not published.
	real := nsm.InstancePCR("i-0827e799ec9232d44")
	if got := hex.EncodeToString(real[:]); got[:8] != "7b3574ad" || got[90:] != "cba5e8" {
		t.Errorf("PCR4 of a real instance is %s, want 7b3574ad…cba5e8", got)
	}
}

func TestMeasurements(t *testing.T) {
	m := nsm.Measurements{0: {1}, 1: {2}, 2: {3}, 3: {4}, 4: {5}, 8: {6}}
	locked := func(with map[uint16]wire.PCR) map[uint16]wire.PCR {
		all := map[uint16]wire.PCR{}
		for i := range uint16(16) {
			all[i] = with[i]
		}
		return all
	}
	for _, tt := range []struct {
		name string
		m    nsm.Measurements
		want map[uint16]wire.PCR
	}{
		{"production", m, locked(m)},
		{"debug keeps the parent's", m.Debug(), locked(map[uint16]wire.PCR{3: {4}, 4: {5}})},
		{"unsigned, no role", nsm.Measurements{0: {1}, 4: {5}}, locked(map[uint16]wire.PCR{0: {1}, 4: {5}})},
		{"none", nil, locked(nil)},
		{"none, debug", nsm.Measurements(nil).Debug(), locked(nil)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := tt.m.Bank()
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, b.Locked()); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	if len(m) != 6 {
		t.Error("Debug changed its receiver")
	}
	for _, i := range []uint16{5, 7, 9, 15, 16, 31, 32, 65535} {
		if _, err := (nsm.Measurements{i: {1}}).Bank(); err == nil {
			t.Errorf("measurement of PCR %d was accepted", i)
		}
	}
}
