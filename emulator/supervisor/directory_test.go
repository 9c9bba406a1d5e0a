package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

func TestBaseDir(t *testing.T) {
	tmp := t.TempDir()
	long := filepath.Join(tmp, strings.Repeat("x", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, runtime, cache string
		want                 string
	}{
		{"runtime directory", tmp, "", filepath.Join(tmp, "nitrolab")},
		{"relative is none", "relative", tmp, filepath.Join(tmp, "run")},
		{"too long for a socket", long, tmp, filepath.Join(tmp, "nitrolab-"+strconv.Itoa(os.Getuid()))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("XDG_RUNTIME_DIR", tt.runtime)
			t.Setenv(toolchain.EnvCache, tt.cache)
			t.Setenv("TMPDIR", tmp)
			for range 2 {
				got, err := BaseDir()
				if err != nil || got != tt.want {
					t.Fatalf("BaseDir = %s, %v; want %s", got, err, tt.want)
				}
			}
			if info, err := os.Stat(tt.want); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
		})
	}
}

// Whoever can write there could be asked for an enclave that is none.
func TestBaseDirRefused(t *testing.T) {
	tests := []struct {
		name string
		make func(dir string) error
		want string
	}{
		{"writable by all", func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777)) }, "has mode 0777, so others can write there"},
		{"writable by a group", func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o720)) }, "has mode 0720, so others can write there"},
		{"a link", func(dir string) error { return os.Symlink(os.TempDir(), dir) }, "is no directory"},
		{"a file", func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "not a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			runtime := t.TempDir()
			t.Setenv("XDG_RUNTIME_DIR", runtime)
			if err := tt.make(filepath.Join(runtime, "nitrolab")); err != nil {
				t.Fatal(err)
			}
			_, err := BaseDir()
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), runtime) {
				t.Errorf("error %v, want the path and %q", err, tt.want)
			}
		})
	}
}

func TestListOrder(t *testing.T) {
	at := func(id string, second int64) Running {
		return Running{Description: Description{Instance: &InstanceDescription{Info: emulator.InstanceInfo{InstanceID: id, Started: time.Unix(second, 0)}}}}
	}
	enclave := func(id string) Running {
		return Running{Description: Description{Enclave: &emulator.EnclaveInfo{EnclaveID: id}}}
	}
	list := []Running{enclave("i-0-enc2"), at("i-1", 9), enclave("i-0-enc1"), at("i-3", 5), at("i-2", 5)}
	slices.SortFunc(list, byStart)
	var got []string
	for _, r := range list {
		got = append(got, r.ID())
	}
	if diff := cmp.Diff([]string{"i-2", "i-3", "i-1", "i-0-enc1", "i-0-enc2"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestFindNothing(t *testing.T) {
	base := useBase(t)
	for _, b := range []string{base, filepath.Join(base, "none")} {
		if list, err := List(within(t), b); err != nil || list == nil || len(list) > 0 {
			t.Errorf("List(%s) = %v, %v; want an empty list", b, list, err)
		}
	}
	_, err := Find(within(t), base, "i-1", "")
	if want := `enclave id is "i-1"; no running enclave has it (nitrolab describe-enclaves lists them)`; !errors.Is(err, ErrNotFound) || err.Error() != want {
		t.Errorf("Find = %v, want %s", err, want)
	}
	if _, err := Find(within(t), base, "", "app"); !errors.Is(err, ErrNotFound) || !strings.HasPrefix(err.Error(), `enclave name is "app"; `) {
		t.Errorf("Find = %v", err)
	}
}

// Names of folders may hold what means something in a pattern.
func TestListInStrangeFolder(t *testing.T) {
	runtime, err := os.MkdirTemp("", "n[l*?")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(runtime)
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	t.Setenv(plotEnv, "run")
	base, err := BaseDir()
	if err != nil {
		t.Fatal(err)
	}
	d, err := Spawn(within(t), Order{Enclave: &testConfig}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Find(within(t), base, d.Enclave.EnclaveID, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Terminate(within(t)); err != nil {
		t.Error(err)
	}
	processEnds(t, d.Enclave.ProcessID)
}
