package eif_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/images/eif"
)

func sum256(b []byte) []byte {
	d := sha256.Sum256(b)
	return d[:]
}

// TestBuildBytes compares the writer with an image written by hand.
func TestBuildBytes(t *testing.T) {
	s := spec(nil)
	s.Metadata.Build = &eif.BuildMetadata{
		BuildTime:        eif.FormatBuildTime(time.Time{}),
		BuildTool:        "nitrolab",
		BuildToolVersion: "0.1",
		OperatingSystem:  "Linux",
		KernelVersion:    "6.12",
	}
	s.Metadata.DockerInfo = json.RawMessage(`{ "Id": "sha256:<1>" }`)
	s.Metadata.CustomMetadata = json.RawMessage(`{"b": 2, "a": [1]}`)
	got, gotM := build(t, s)
	want := rawImage(4, 0, secKernel, secCmdline,
		rawSection{metadata, 0, `{"ImageName":"app","ImageVersion":"1.0","BuildMetadata":{"BuildTime":"1970-01-01T00:00:00+00:00","BuildTool":"nitrolab","BuildToolVersion":"0.1","OperatingSystem":"Linux","KernelVersion":"6.12"},"DockerInfo":{"Id":"sha256:<1>"},"CustomMetadata":{"b":2,"a":[1]}}`},
		rawSection{ramdisk, 0, "R0"}, rawSection{ramdisk, 0, "R1!"})
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	wantM := eif.Measurements{PCR0: m("KERNquietR0R1!"), PCR1: m("KERNquietR0"), PCR2: m("R1!")}
	if diff := cmp.Diff(wantM, gotM); diff != "" {
		t.Errorf("measurements (-want +got):\n%s", diff)
	}
}

func TestBuildHeader(t *testing.T) {
	s := spec(nil)
	s.Arch, s.DefaultMem, s.DefaultCPUs = eif.AArch64, 5, 6
	b, _ := build(t, s)
	h := open(t, b).Header()
	h.CRC = 0
	want := eif.Header{Version: 4, Flags: 1, DefaultMem: 5, DefaultCPUs: 6, NumSections: 5}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestBuildDeterministic builds signed images in two places: not one byte may
// differ, not even of the ECDSA signature.
func TestBuildDeterministic(t *testing.T) {
	certPEM, keyPEM, _ := identity(t, elliptic.P384())
	var images [][]byte
	for range 2 {
		s, err := eif.NewSigner(certPEM, keyPEM)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "app.eif")
		if _, err := eif.BuildFile(name, spec(s)); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, b)
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("two builds differ")
	}
}

func TestBuildRefuses(t *testing.T) {
	many := func(n int) []*io.SectionReader {
		rs := make([]*io.SectionReader, n)
		for i := range rs {
			rs[i] = section("r")
		}
		return rs
	}
	signer, _ := newSigner(t, elliptic.P384())
	tests := []struct {
		name   string
		change func(*eif.Spec)
		want   string // "" for accepted
	}{
		{"no kernel", func(s *eif.Spec) { s.Kernel = nil }, "kernel is empty"},
		{"empty kernel", func(s *eif.Spec) { s.Kernel = section("") }, "kernel is empty"},
		{"NUL in command line", func(s *eif.Spec) { s.Cmdline = "a\x00b" }, "has a NUL"},
		{"longest command line", func(s *eif.Spec) { s.Cmdline = strings.Repeat("c", 2047) }, ""},
		{"command line too long", func(s *eif.Spec) { s.Cmdline = strings.Repeat("c", 2048) }, "has 2048 bytes, a kernel keeps at most 2047"},
		{"no ramdisk", func(s *eif.Spec) { s.Ramdisks = nil }, "number of ramdisks is 0, allowed are 1 to 29"},
		{"empty ramdisk", func(s *eif.Spec) { s.Ramdisks = []*io.SectionReader{section("")} }, "ramdisk 0 is empty"},
		{"missing ramdisk", func(s *eif.Spec) { s.Ramdisks = []*io.SectionReader{nil} }, "ramdisk 0 is empty"},
		{"29 ramdisks", func(s *eif.Spec) { s.Ramdisks = many(29) }, ""},
		{"30 ramdisks", func(s *eif.Spec) { s.Ramdisks = many(30) }, "number of ramdisks is 30"},
		{"29 ramdisks signed", func(s *eif.Spec) { s.Ramdisks, s.Signer = many(29), signer }, "number of ramdisks is 29, allowed are 1 to 28"},
		{"architecture", func(s *eif.Spec) { s.Arch = 2 }, "architecture is Arch(2)"},
		{"docker info", func(s *eif.Spec) { s.Metadata.DockerInfo = json.RawMessage("{") }, "docker info is no JSON"},
		{"custom metadata array", func(s *eif.Spec) { s.Metadata.CustomMetadata = json.RawMessage("[]") }, "custom metadata: no JSON object"},
		{"custom metadata null", func(s *eif.Spec) { s.Metadata.CustomMetadata = json.RawMessage("null") }, "custom metadata: no JSON object"},
		{"custom metadata largest", func(s *eif.Spec) {
			s.Metadata.CustomMetadata = json.RawMessage(`{"a":"` + strings.Repeat("x", 4096-8) + `"}`)
		}, ""},
		{"custom metadata too large", func(s *eif.Spec) {
			s.Metadata.CustomMetadata = json.RawMessage(`{"a":"` + strings.Repeat("x", 4096-7) + `"}`)
		}, "custom metadata has 4097 bytes, allowed are at most 4096"},
		{"metadata too large", func(s *eif.Spec) {
			s.Metadata.DockerInfo = json.RawMessage(`"` + strings.Repeat("x", eif.MaxMetadata) + `"`)
		}, "metadata has"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := spec(nil)
			tt.change(&s)
			var w seekBuffer
			_, err := eif.Build(&w, s)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := open(t, w.b).Verify(); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// TestFilesWholeOrNot makes builds fail half-way and looks at what they leave.
func TestFilesWholeOrNot(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "app.eif")
	broken := errors.New("disk broken")
	s := spec(nil)
	s.Ramdisks = append(s.Ramdisks, io.NewSectionReader(failAfter{bytes.NewReader(nil), 0, broken}, 0, 10))
	if _, err := eif.BuildFile(name, s); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	checkFiles(t, dir)

	if err := os.WriteFile(name, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := eif.BuildFile(name, s); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	checkFiles(t, dir, "app.eif")
	if b, _ := os.ReadFile(name); string(b) != "old" {
		t.Error("failed build touched the old file")
	}
	if _, err := eif.BuildFile(name, spec(nil)); err != nil {
		t.Fatal(err)
	}
	checkFiles(t, dir, "app.eif")
	signer, _ := newSigner(t, elliptic.P384())
	if _, err := eif.SignFile(filepath.Join(dir, "no", "such"), name, signer); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := eif.SignFile(name, filepath.Join(dir, "none.eif"), signer); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := eif.BuildFile(dir, spec(nil)); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("error %v", err)
	}
	checkFiles(t, dir, "app.eif")
}

func checkFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestOpenFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := eif.OpenFile(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := eif.OpenFile(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("error %v", err)
	}
	name := filepath.Join(dir, "bad.eif")
	if err := os.WriteFile(name, bytes.Repeat([]byte("x"), 1000), 0o666); err != nil {
		t.Fatal(err)
	}
	var format *eif.FormatError
	if _, err := eif.OpenFile(name); !errors.As(err, &format) || format.Field != "magic" {
		t.Errorf("error %v", err)
	}
}

func TestBuildTime(t *testing.T) {
	at, err := eif.ParseSourceDateEpoch("1700000000")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := eif.FormatBuildTime(at), "2023-11-14T22:13:20+00:00"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, s := range []string{"", "-1", "x", "1.5", "99999999999999999999"} {
		if _, err := eif.ParseSourceDateEpoch(s); err == nil {
			t.Errorf("%q accepted", s)
		}
	}
}
