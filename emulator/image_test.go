package emulator

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/images/eif"
)

// newSigner makes a signer whose certificate is valid for an hour from now.
func newSigner(t testing.TB, now time.Time) *eif.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "developer"},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := eif.NewSigner(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}))
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func TestOpenImage(t *testing.T) {
	now := time.Now()
	signer := newSigner(t, now)
	edit := func(f func(*eif.Spec)) string {
		spec := smallSpec(t)
		f(&spec)
		return writeEIF(t, spec)
	}
	damage := func(path string, at int64, b byte) string {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var old [1]byte
		if _, err := f.ReadAt(old[:], at); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{old[0] ^ b}, at); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := func(*eif.Spec) {}
	tests := []struct {
		name   string
		path   string
		memory int
		at     time.Time
		want   string // empty: accepted
	}{
		{"good", edit(plain), 64, now, ""},
		{"signed", edit(func(s *eif.Spec) { s.Signer = signer }), 64, now, ""},
		{"signed, certificate expired", edit(func(s *eif.Spec) { s.Signer = signer }), 64, now.Add(2 * time.Hour), "certificate"},
		{"for arm64", edit(func(s *eif.Spec) { s.Arch = eif.AArch64 }), 64, now, "is aarch64"},
		{"not enough memory", edit(func(s *eif.Spec) { s.Ramdisks = append(s.Ramdisks, section(make([]byte, 17<<20))) }), 64, now,
			"memory is 64 MiB; allowed is at least 69 MiB, 4 times the size of the image"},
		{"enough memory", edit(func(s *eif.Spec) { s.Ramdisks = append(s.Ramdisks, section(make([]byte, 17<<20))) }), 69, now, ""},
		{"no image", damage(edit(plain), 0, 1), 64, now, "magic"},
		{"bit flipped in the kernel", damage(edit(plain), 1000, 1), 64, now, "eif_crc32"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			im, err := openImage(t.Context(), EnclaveConfig{EIFPath: tt.path, MemoryMiB: tt.memory}, tt.at)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := im.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				im.Close()
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "enclave image "+tt.path+": ") {
				t.Errorf("error %q, want the file and %q", err, tt.want)
			}
		})
	}
}

// Measuring a large image ends with its context.
func TestOpenImageCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := openImage(ctx, EnclaveConfig{EIFPath: writeEIF(t, smallSpec(t)), MemoryMiB: 64}, time.Now())
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

func TestDescribeImage(t *testing.T) {
	spec := smallSpec(t)
	spec.Signer = newSigner(t, time.Now())
	spec.Metadata.Build = &eif.BuildMetadata{BuildTool: "test", KernelVersion: "6.12"}
	spec.Metadata.CustomMetadata = []byte(`{"team": "a"}`)
	path := writeEIF(t, spec)
	im, err := openImage(t.Context(), EnclaveConfig{EIFPath: path, MemoryMiB: 64}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	const instance = "i-01020304050607080"
	got := im.describe(EnclaveConfig{EIFPath: path, MemoryMiB: 64, CPUs: 2, Debug: true}, instance, 0x19a0102030405, 17)
	want := EnclaveInfo{
		EnclaveName: "app", EnclaveID: instance + "-enc19a0102030405", ModuleID: instance + "-enc00019a0102030405",
		ProcessID: os.Getpid(), EnclaveCID: 17, NumberOfCPUs: 2, CPUIDs: []int{0, 1}, MemoryMiB: 64, Flags: "DEBUG_MODE",
		Measurements: im.measurements, ImageName: "fake", ImageVersion: "1",
		Metadata: &eif.MetadataInfo{BuildMetadata: *spec.Metadata.Build, CustomMetadata: []byte(`{"team":"a"}`)},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(eif.MetadataInfo{}, "DockerInfo", "CustomMetadata")); diff != "" {
		t.Errorf("description (-want +got):\n%s", diff)
	}
	if !strings.Contains(string(got.Metadata.CustomMetadata), `"team"`) {
		t.Errorf("custom metadata %s", got.Metadata.CustomMetadata)
	}
	got = im.describe(EnclaveConfig{EIFPath: path, Name: "mine", CPUs: 2, CPUIDs: []int{3, 1}}, instance, 1, 17)
	if got.EnclaveName != "mine" || got.Flags != "NONE" || !cmp.Equal(got.CPUIDs, []int{3, 1}) {
		t.Errorf("name %q, flags %q, CPUs %v", got.EnclaveName, got.Flags, got.CPUIDs)
	}

	m := im.measurements
	id := Identity{InstanceID: instance}
	registers := nsm.Measurements{
		0: [48]byte(m.PCR0), 1: [48]byte(m.PCR1), 2: [48]byte(m.PCR2), 4: nsm.InstancePCR(instance), 8: [48]byte(m.PCR8),
	}
	if diff := cmp.Diff(registers, im.registers(id.InstanceID, "")); diff != "" {
		t.Errorf("registers without a role (-want +got):\n%s", diff)
	}
	const role = "arn:aws:iam::123456789012:role/x"
	registers[3] = nsm.RolePCR(role)
	if diff := cmp.Diff(registers, im.registers(id.InstanceID, role)); diff != "" {
		t.Errorf("registers with a role (-want +got):\n%s", diff)
	}
}

func TestDefaultName(t *testing.T) {
	for path, want := range map[string]string{
		"/a/b/app.eif": "app", "app.eif": "app", "app": "app", "app.eif.eif": "app", "app.v2.eif": "app.v2", "a.eif/b": "b",
	} {
		if got := DefaultName(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}

// What QEMU boots is exactly what was measured.
func TestUnpack(t *testing.T) {
	spec := smallSpec(t)
	im, err := openImage(t.Context(), EnclaveConfig{EIFPath: writeEIF(t, spec), MemoryMiB: 64}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	dir := t.TempDir()
	kernel, initrd, err := im.unpack(dir, bootPlan{})
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, spec.Kernel.Size())
	if _, err := spec.Kernel.ReadAt(want, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(kernel); err != nil || string(got) != string(want) {
		t.Errorf("kernel: %d bytes, %v", len(got), err)
	}
	if got, err := os.ReadFile(initrd); err != nil || string(got) != "ramdisk 1ramdisk 2" {
		t.Errorf("ramdisks: %q, %v", got, err)
	}
	if _, _, err := im.unpack(dir, bootPlan{}); err == nil {
		t.Error("files that exist were overwritten")
	}
	dir = t.TempDir()
	if kernel, _, err = im.unpack(dir, bootPlan{vmlinux: "/cache/vmlinux"}); err != nil || kernel != "/cache/vmlinux" {
		t.Errorf("kernel %s, %v; want the uncompressed one", kernel, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("unpacked %v, want the ramdisks only", left)
	}
}
