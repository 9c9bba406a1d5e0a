package boot

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fake is a machine with two ramdisks. It records what is done to it and fails
// where told to.
type fake struct {
	files map[string]string // readable files
	dirs  map[string]bool   // folders that exist, for mounts
	fail  map[string]error  // by recorded call, or its first words
	waits []wait            // what Wait returns; the application is process 100

	calls []string
	log   []string
}

type wait struct {
	pid    int
	status Status
	err    error
}

func (f *fake) do(format string, args ...any) error {
	call := fmt.Sprintf(format, args...)
	f.calls = append(f.calls, call)
	for prefix, err := range f.fail {
		if strings.HasPrefix(call, prefix) {
			return err
		}
	}
	return nil
}

func (f *fake) Mount(source, target, fstype string, flags uintptr, data string) error {
	if err := f.do("mount %s %s %s %#x %s", source, target, fstype, flags, data); err != nil {
		return err
	}
	if f.dirs != nil && !f.dirs[target] {
		return unix.ENOENT
	}
	return nil
}

func (f *fake) Mkdir(path string, _ uint32) error {
	if err := f.do("mkdir %s", path); err != nil {
		return err
	}
	if f.dirs[path] {
		return unix.EEXIST
	}
	if f.dirs != nil {
		f.dirs[path] = true
	}
	return nil
}

func (f *fake) Symlink(target, path string) error { return f.do("symlink %s %s", target, path) }
func (f *fake) Unlink(path string) error          { return f.do("unlink %s", path) }
func (f *fake) Chdir(path string) error           { return f.do("chdir %s", path) }
func (f *fake) Chroot(path string) error          { return f.do("chroot %s", path) }
func (f *fake) CatchSignals()                     { f.do("signals") }
func (f *fake) OpenConsole() error                { return f.do("console") }
func (f *fake) Heartbeat() error                  { return f.do("heartbeat") }
func (f *fake) SetHostname(name string) error     { return f.do("hostname %s", name) }
func (f *fake) LoopbackUp() error                 { return f.do("loopback") }
func (f *fake) Sync()                             { f.do("sync") }
func (f *fake) Reboot() error                     { return f.do("reboot") }
func (f *fake) Log(line string)                   { f.log = append(f.log, line) }

func (f *fake) ReadFile(path string, limit int) ([]byte, error) {
	if err := f.do("read %s", path); err != nil {
		return nil, err
	}
	content, ok := f.files[path]
	switch {
	case !ok:
		return nil, unix.ENOENT
	case len(content) > limit:
		return nil, unix.EFBIG
	}
	return []byte(content), nil
}

func (f *fake) ListDir(path string) ([]string, error) {
	var names []string
	for p := range f.files {
		if name, ok := strings.CutPrefix(p, path+"/"); ok {
			names = append(names, name)
		}
	}
	if names == nil {
		return nil, unix.ENOENT
	}
	return names, nil
}

func (f *fake) LoadModule(path string) error {
	if _, ok := f.files[path]; !ok {
		return unix.ENOENT
	}
	return f.do("load %s", path)
}

func (f *fake) Start(argv, env []string) (int, error) {
	return 100, f.do("start %q %q", argv, env)
}

func (f *fake) Wait() (int, Status, error) {
	if len(f.waits) == 0 {
		return 100, Status{}, nil
	}
	w := f.waits[0]
	f.waits = f.waits[1:]
	return w.pid, w.status, w.err
}

func image(more map[string]string) map[string]string {
	files := map[string]string{"/cmd": "/app\n-v\n", "/env": "A=1\n"}
	for k, v := range more {
		files[k] = v
	}
	return files
}

func TestRunOrder(t *testing.T) {
	f := &fake{files: image(map[string]string{
		"/modules/10-c.ko": "", "/modules/00-a.ko": "", "/modules/01-b.ko": "", "/modules/README": "", "/nsm.ko": "",
	})}
	if err := run(f); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"signals",
		"mount dev /dev devtmpfs 0xa ",
		"console",
		"load /modules/00-a.ko", "unlink /modules/00-a.ko",
		"load /modules/01-b.ko", "unlink /modules/01-b.ko",
		"load /modules/10-c.ko", "unlink /modules/10-c.ko",
		"load /nsm.ko", "unlink /nsm.ko",
		"heartbeat",
		"read /cmd", "read /env", "unlink /env", "unlink /cmd",
		"mount /rootfs /rootfs  0x1000 ",
		"chdir /rootfs",
		"mount . /  0x2000 ",
		"chroot .",
		"chdir /",
		"mount dev /dev devtmpfs 0xa ",
		"symlink /proc/self/fd /dev/fd",
		"symlink /proc/self/fd/0 /dev/stdin",
		"symlink /proc/self/fd/1 /dev/stdout",
		"symlink /proc/self/fd/2 /dev/stderr",
		"mount proc /proc proc 0xe ",
		"mount tmpfs /run tmpfs 0xe mode=0755",
		"mount tmpfs /tmp tmpfs 0xe ",
		"mount shm /dev/shm tmpfs 0xe ",
		"mount devpts /dev/pts devpts 0xa ptmxmode=0666",
		"mount sysfs /sys sysfs 0xe ",
		"mount cgroup2 /sys/fs/cgroup cgroup2 0xe ",
		"hostname enclave",
		"loopback",
		`start ["/app" "-v"] ["A=1"]`,
		"sync",
		"reboot",
	}
	if diff := cmp.Diff(want, f.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"application ended: status 0"}, f.log); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// An image from a single program has no mount point at all.
func TestRunMakesMountPoints(t *testing.T) {
	f := &fake{files: image(nil), dirs: map[string]bool{"/dev": true, "/rootfs": true, "/": true}}
	if err := run(f); err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		if !f.dirs[m.target] {
			t.Errorf("%s was not made", m.target)
		}
	}
}

// Every step that can fail ends the boot, with a sentence that names it, and
// nothing later is done.
func TestRunFails(t *testing.T) {
	tests := []struct {
		call string // that fails
		err  error
		want string
	}{
		{"mount dev", unix.EPERM, "mount /dev"},
		{"console", unix.ENOENT, "open console"},
		{"load /modules/00-a.ko", unix.ENOEXEC, "load module /modules/00-a.ko"},
		{"load /nsm.ko", unix.ENOENT, ""}, // the stock module is optional
		{"heartbeat", unix.ECONNRESET, "heartbeat to parent"},
		{"read /cmd", unix.ENOENT, "read command"},
		{"read /env", unix.EIO, "read environment"},
		{"mount /rootfs", unix.ENOENT, "bind /rootfs"},
		{"chdir /rootfs", unix.ENOENT, "enter /rootfs"},
		{"mount . /", unix.EINVAL, "move /rootfs"},
		{"chroot", unix.EPERM, "change root"},
		{"symlink /proc/self/fd /dev/fd", unix.EROFS, "link /dev/fd"},
		{"mount proc", unix.EINVAL, "mount /proc"},
		{"mount cgroup2", unix.EPERM, "mount /sys/fs/cgroup"},
		{"reboot", unix.EPERM, "reboot"},
	}
	for _, tt := range tests {
		t.Run(tt.call, func(t *testing.T) {
			f := &fake{
				files: image(map[string]string{"/modules/00-a.ko": "", "/nsm.ko": ""}),
				fail:  map[string]error{tt.call: tt.err},
			}
			err := run(f)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q...", err, tt.want)
			}
			if last := f.calls[len(f.calls)-1]; !strings.HasPrefix(last, tt.call) {
				t.Errorf("after the failure: %q", last)
			}
		})
	}
}

// What an enclave can do without does not stop it.
func TestRunTolerates(t *testing.T) {
	tests := []struct {
		name string
		call string
		err  error
	}{
		{"dev is mounted", "mount dev /dev ", unix.EBUSY},
		{"module is built in", "load /modules/00-a.ko", unix.EEXIST},
		{"module cannot be deleted", "unlink /modules", unix.EROFS},
		{"no environment file", "read /env", unix.ENOENT},
		{"links exist", "symlink", unix.EEXIST},
		{"kernel without cgroups", "mount cgroup2", unix.ENODEV},
		{"host name", "hostname", unix.EPERM},
		{"kernel without network", "loopback", unix.EAFNOSUPPORT},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{files: image(map[string]string{"/modules/00-a.ko": ""}), fail: map[string]error{tt.call: tt.err}}
			if err := run(f); err != nil {
				t.Fatal(err)
			}
			if last := f.calls[len(f.calls)-1]; last != "reboot" {
				t.Errorf("last call %q, want reboot", last)
			}
		})
	}
}

func TestRunReaps(t *testing.T) {
	tests := []struct {
		name  string
		fail  map[string]error
		waits []wait
		want  string
	}{
		{"status", nil, []wait{{100, Status{Code: 3}, nil}}, "application ended: status 3"},
		{"signal", nil, []wait{{100, Status{Signal: unix.SIGKILL}, nil}}, "application ended: signal killed"},
		{
			"orphans first", nil,
			[]wait{{7, Status{Code: 1}, nil}, {0, Status{}, unix.EINTR}, {100, Status{Stopped: true}, nil}, {100, Status{}, nil}},
			"application ended: status 0",
		},
		{"not started", map[string]error{"start": unix.ENOENT}, nil, "application ended: status 127"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{files: image(nil), waits: tt.waits, fail: tt.fail}
			if err := run(f); err != nil {
				t.Fatal(err)
			}
			if got := f.log[len(f.log)-1]; got != tt.want {
				t.Errorf("log %q, want %q", got, tt.want)
			}
			if len(f.waits) > 0 {
				t.Errorf("%d ends of processes were not waited for", len(f.waits))
			}
		})
	}
}
