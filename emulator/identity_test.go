package emulator

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

func TestNewIdentity(t *testing.T) {
	entropy := make([]byte, 9+attestation.SeedSize)
	for i := range entropy {
		entropy[i] = byte(i + 1)
	}
	got, err := NewIdentity(bytes.NewReader(entropy))
	want := Identity{InstanceID: "i-01020304050607080", Region: "us-east-1", Seed: entropy[9:]}
	if err != nil || !cmp.Equal(want, got) {
		t.Errorf("error %v, (-want +got):\n%s", err, cmp.Diff(want, got))
	}
	if err := got.check(); err != nil {
		t.Error(err)
	}
	if _, err := NewIdentity(iotest.ErrReader(io.ErrUnexpectedEOF)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v of a broken source", err)
	}
}

// The Host of a user is one, however many ask for it at the same time.
func TestLoadIdentityConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "host.json")
	ids := make([]Identity, 16)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			var err error
			if ids[i], err = LoadIdentity(path); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, id := range ids {
		if !reflect.DeepEqual(id, ids[0]) {
			t.Fatalf("two identities: %v and %v", id.InstanceID, ids[0].InstanceID)
		}
	}
	again, err := ReadIdentity(path)
	if err != nil || !reflect.DeepEqual(again, ids[0]) {
		t.Errorf("read again: %v, %v", again.InstanceID, err)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("left beside the file: %v, %v", files, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the secret: %v, %v", info.Mode(), err)
	}
}

func TestReadIdentityDoesNotMakeOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "host.json")
	if _, err := ReadIdentity(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want that there is no file", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("there is a file now")
	}
}

func TestDamagedIdentity(t *testing.T) {
	seed := `"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"`
	tests := []struct{ name, text, want string }{
		{"empty", ``, "unexpected end of JSON input"},
		{"cut off", `{"InstanceID": "i-0102`, "unexpected end of JSON input"},
		{"instance", `{"InstanceID": "i-xyz", "Region": "us-east-1", "Seed": ` + seed + `}`, `instance id is "i-xyz"; allowed is i- and 17 hex digits`},
		{"region", `{"InstanceID": "i-01020304050607080", "Region": "../x", "Seed": ` + seed + `}`, `region is "../x"; allowed is the form us-east-1`},
		{"seed", `{"InstanceID": "i-01020304050607080", "Region": "eu-west-1", "Seed": "AAAA"}`, "seed has 3 bytes; allowed are 48"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "host.json")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadIdentity(path)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range []string{path, tt.want, "remove the file to get a new host"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q has no %q", err, want)
				}
			}
			if left, _ := os.ReadFile(path); string(left) != tt.text {
				t.Errorf("the file was changed to %q", left)
			}
		})
	}
}

func TestRegions(t *testing.T) {
	for region, want := range map[string]bool{
		"us-east-1": true, "eu-central-2": true, "us-gov-west-1": true, "ap-southeast-10": true,
		"": false, "us-east": false, "US-EAST-1": false, "us-east-1 ": false, "us-east-1\n": false, "us_east_1": false,
	} {
		if got := regionPattern.MatchString(region); got != want {
			t.Errorf("region %q: %v, want %v", region, got, want)
		}
	}
}

// The id of an enclave and the module id in its documents are the same number,
// with and without leading zeros.
func TestEnclaveIDs(t *testing.T) {
	const instance = "i-01020304050607080"
	now := time.UnixMilli(0x19a_0102_0304)
	slot, err := newSlotUID(now, bytes.NewReader([]byte{0xab, 0xcd}))
	if err != nil {
		t.Fatal(err)
	}
	if want := uint64(0x019a_0102_0304_abcd); slot != want {
		t.Errorf("slot uid %#x, want %#x", slot, want)
	}
	if got, want := enclaveID(instance, slot), instance+"-enc19a01020304abcd"; got != want {
		t.Errorf("enclave id %s, want %s", got, want)
	}
	if got, want := attestation.ModuleID(instance, slot), instance+"-enc019a01020304abcd"; got != want {
		t.Errorf("module id %s, want %s", got, want)
	}
	if _, err := newSlotUID(now, bytes.NewReader([]byte{1})); err == nil {
		t.Error("no error of a source that ends")
	}
}
