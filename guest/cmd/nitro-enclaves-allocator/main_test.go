package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nitrolab/nitrolab/guest/nitrocli/allocator"
)

func TestRun(t *testing.T) {
	tests := []struct {
		name   string
		args   []string
		config string // "-" for no file
		want   string // part of the error
	}{
		{"argument", []string{"-h"}, "-", `argument is "-h"; nitro-enclaves-allocator takes none`},
		{"no file", nil, "-", "allocator.yaml: no such file"},
		{"mistake", nil, "---\nmemory_mib: x\ncpu_count: 2\n", "allocator.yaml: config error in line 2"},
		{"no driver", nil, "---\nmemory_mib: 64\ncpu_count: 2\n", "the driver nitro_enclaves is not loaded"},
		{"large", nil, strings.Repeat("#", allocator.MaxConfig+1), "more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.config != "-" {
				path := filepath.Join(dir, allocator.ConfigPath)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(tt.config), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := run(tt.args, dir, allocator.Root(dir), io.Discard)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %q", err, tt.want)
			}
		})
	}
}
