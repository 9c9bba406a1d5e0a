package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, good := range [][]string{{"memory", "1"}, {"memory", "77", "needle"}, {"registers", "0.5", "1"}, {"donate", "x.eif", "256", "2", "n"}, {"limits"}} {
		if _, err := parse(good); err != nil {
			t.Errorf("parse(%q) = %v", good, err)
		}
	}
	for _, tt := range []struct {
		args []string
		says string
	}{
		{nil, "usage"},
		{[]string{"memory"}, "usage"},
		{[]string{"memory", "0"}, "PID is"},
		{[]string{"memory", "x"}, "PID is"},
		{[]string{"registers", "-1", "1"}, "SECONDS is"},
		{[]string{"registers", "NaN", "1"}, "SECONDS is"},
		{[]string{"registers", "1", "x"}, "SEED is"},
		{[]string{"registers", "1"}, "usage"},
		{[]string{"donate", "x.eif", "0", "2", "n"}, "MIB is"},
		{[]string{"donate", "x.eif", "256", "0", "n"}, "CPUS is"},
		{[]string{"donate", "x.eif", "256", "2"}, "usage"},
	} {
		if _, err := parse(tt.args); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("parse(%q) = %v, want %q", tt.args, err, tt.says)
		}
	}
}

const maps = `00400000-00401000 r-xp 00000000 00:02 5 /usr/bin/nitro-cli
7f0000000000-7f0000200000 rw-s 00000000 00:0f 77 /anon_hugepage (deleted)
7f0000200000-7f0000600000 rw-s 00000000 00:0f 78 /anon_hugepage (deleted)
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]
`

func TestHugeRanges(t *testing.T) {
	got, err := hugeRanges(strings.NewReader(maps))
	if err != nil {
		t.Fatal(err)
	}
	want := []memoryRange{{0x7f0000000000, 0x7f0000200000}, {0x7f0000200000, 0x7f0000600000}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(memoryRange{})); diff != "" {
		t.Errorf("ranges (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"x-y rw /anon_hugepage", "20-10 rw /anon_hugepage", "10 /anon_hugepage"} {
		if _, err := hugeRanges(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestReadDonated(t *testing.T) {
	content := make([]byte, 3<<20+17)
	copy(content[1<<20-3:], "needle") // across the blocks of reading
	for _, tt := range []struct {
		needle string
		want   donated
	}{
		{"needle", donated{3<<20 + 17, 6, true}},
		{"needles", donated{3<<20 + 17, 6, false}},
		{"", donated{3<<20 + 17, 6, false}},
	} {
		var d donated
		if err := d.read(bytes.NewReader(content), []byte(tt.needle)); err != nil || d != tt.want {
			t.Errorf("needle %q: %+v, %v; want %+v", tt.needle, d, err, tt.want)
		}
	}
	if _, err := readDonated(os.Getpid(), ""); err == nil || !strings.Contains(err.Error(), "no huge pages") {
		t.Errorf("a process without huge pages: %v", err)
	}
}

func TestFindDevice(t *testing.T) {
	base := t.TempDir()
	for name, id := range map[string][2]string{"0000:00:01.0": {"0x8086", "0x1"}, "0000:02:00.0": {"0x1d0f", "0xe4c1"}} {
		dir := filepath.Join(base, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for i, file := range []string{"vendor", "device"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(id[i]+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, err := findDevice(base, nitroEnclavesVendor, nitroEnclavesDevice); err != nil || filepath.Base(got) != "0000:02:00.0" {
		t.Errorf("findDevice = %s, %v", got, err)
	}
	if got, err := findDevice(base, "0x1d0f", "0x1"); err == nil {
		t.Errorf("findDevice of what is not there = %s", got)
	}
}

func FuzzHugeRanges(f *testing.F) {
	f.Add(maps)
	f.Add("-- /anon_hugepage\n")
	f.Fuzz(func(t *testing.T, text string) {
		ranges, err := hugeRanges(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, r := range ranges {
			if r.end <= r.start {
				t.Errorf("range %+v", r)
			}
		}
	})
}
