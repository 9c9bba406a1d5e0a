package instance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fakeSystem records what PID 1 does and fails where told to.
type fakeSystem struct {
	dirs    map[string]bool  // folders that exist, for mounts; nil for all
	modules []string         // in /modules
	fail    map[string]error // by recorded call, or its first words
	waits   []child          // what Wait returns
	starts  int              // agents that can be started; then there is an error

	calls []string
	log   []string
}

type child struct {
	pid int
	how string
	err error
}

const (
	busyboxPID = 50
	agentPID   = 100
)

var errEnough = errors.New("enough")

func (f *fakeSystem) do(format string, args ...any) error {
	call := fmt.Sprintf(format, args...)
	f.calls = append(f.calls, call)
	for prefix, err := range f.fail {
		if strings.HasPrefix(call, prefix) {
			return err
		}
	}
	return nil
}

func (f *fakeSystem) CatchSignals()      { f.do("signals") }
func (f *fakeSystem) OpenConsole() error { return f.do("console") }
func (f *fakeSystem) Mount(source, target, fstype string, flags uintptr, data string) error {
	if err := f.do("mount %s %s %#x %s", target, fstype, flags, data); err != nil {
		return err
	}
	if f.dirs != nil && !f.dirs[target] {
		return unix.ENOENT
	}
	return nil
}
func (f *fakeSystem) Mkdir(path string, mode uint32) error {
	if f.dirs != nil {
		f.dirs[path] = true
	}
	return f.do("mkdir %s %#o", path, mode)
}
func (f *fakeSystem) Symlink(target, path string) error { return f.do("symlink %s %s", target, path) }
func (f *fakeSystem) ListDir(path string) ([]string, error) {
	return f.modules, f.do("list %s", path)
}
func (f *fakeSystem) LoadModule(path string) error { return f.do("load %s", path) }
func (f *fakeSystem) LoopbackUp() error            { return f.do("loopback") }
func (f *fakeSystem) Pause()                       { f.do("pause") }
func (f *fakeSystem) Log(line string)              { f.log = append(f.log, line) }

func (f *fakeSystem) Start(argv, env []string) (int, error) {
	if err := f.do("start %s", strings.Join(argv, " ")); err != nil {
		return 0, err
	}
	if argv[0] == busybox {
		return busyboxPID, nil
	}
	if f.starts == 0 {
		return 0, errEnough
	}
	f.starts--
	return agentPID, nil
}

func (f *fakeSystem) Wait() (int, string, error) {
	if len(f.waits) == 0 {
		return 0, "", unix.ECHILD
	}
	w := f.waits[0]
	f.waits = f.waits[1:]
	f.do("reap %d", w.pid)
	return w.pid, w.how, w.err
}

func TestBootOrder(t *testing.T) {
	f := &fakeSystem{
		modules: []string{"01-b.ko", "README", "10-c.ko", "00-a.ko"},
		starts:  2,
		waits: []child{
			{busyboxPID, "", nil},
			{7, "status 3", nil}, {0, "", unix.EINTR}, {agentPID, "signal killed", nil},
			{agentPID, "", nil},
		},
	}
	if err := boot(f); !errors.Is(err, errEnough) {
		t.Fatalf("error %v", err)
	}
	want := []string{
		"signals",
		"mount /dev devtmpfs 0x2 mode=0755",
		"console",
		"symlink /proc/self/fd /dev/fd",
		"symlink /proc/self/fd/0 /dev/stdin",
		"symlink /proc/self/fd/1 /dev/stdout",
		"symlink /proc/self/fd/2 /dev/stderr",
		"mount /proc proc 0xe ",
		"mount /sys sysfs 0xe ",
		"mount /run tmpfs 0x6 mode=0755",
		"mount /tmp tmpfs 0x6 mode=1777",
		"mount /dev/shm tmpfs 0x6 mode=1777",
		"mount /dev/pts devpts 0xa gid=5,mode=0620,ptmxmode=0666",
		"mount /sys/fs/cgroup cgroup2 0xe ",
		"mount /dev/hugepages hugetlbfs 0x6 mode=1770",
		"mount /sys/kernel/debug debugfs 0xe ",
		"mkdir /run/lock 0755",
		"mkdir /run/nitro_enclaves 0755",
		"mkdir /run/nitrolab 0755",
		"list /modules",
		"load /modules/00-a.ko",
		"load /modules/01-b.ko",
		"load /modules/10-c.ko",
		"loopback",
		"start /bin/busybox --install -s",
		"reap 50",
		"start /init agent",
		"reap 7", "reap 0", "reap 100",
		"pause",
		"start /init agent",
		"reap 100",
		"pause",
		"start /init agent",
	}
	if diff := cmp.Diff(want, f.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"agent ended: signal killed; starting it again", "agent ended: by itself; starting it again"}, f.log); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// What an instance can do without is on the console; what it cannot is the end.
func TestBootFailures(t *testing.T) {
	tests := []struct {
		name, call string
		err        error
		fatal      bool
		log        string
	}{
		{"no /dev", "mount /dev devtmpfs", unix.EPERM, true, ""},
		{"/dev is mounted", "mount /dev devtmpfs", unix.EBUSY, false, ""},
		{"no console", "console", unix.ENXIO, true, ""},
		{"link there", "symlink", unix.EEXIST, false, ""},
		{"no link", "symlink", unix.EROFS, true, ""},
		{"no /proc", "mount /proc", unix.ENODEV, true, ""},
		{"no cgroups", "mount /sys/fs/cgroup", unix.ENODEV, false, ""},
		{"no huge pages", "mount /dev/hugepages", unix.ENODEV, false, ""},
		{"no debugfs", "mount /sys/kernel/debug", unix.ENOENT, false, ""},
		{"huge pages are refused", "mount /dev/hugepages", unix.EPERM, true, ""},
		{"folder there", "mkdir /run/lock", unix.EEXIST, false, ""},
		{"no folder", "mkdir /run/nitrolab", unix.ENOSPC, true, ""},
		{"no modules", "list /modules", unix.ENOENT, false, ""},
		{"modules cannot be listed", "list /modules", unix.EACCES, false, "list /modules: permission denied"},
		{"module is built in", "load /modules/00-a.ko", unix.EEXIST, false, ""},
		{"module does not load", "load /modules/00-a.ko", unix.ENOEXEC, false, "load module 00-a.ko: exec format error"},
		{"no loopback", "loopback", unix.ENODEV, false, "bring up loopback: no such device"},
		{"no busybox", "start /bin/busybox", unix.ENOENT, false, ""},
		{"busybox does not start", "start /bin/busybox", unix.EACCES, false, "install busybox: permission denied"},
		{"no agent", "start /init", unix.ENOEXEC, true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeSystem{modules: []string{"00-a.ko"}, fail: map[string]error{tt.call: tt.err}, starts: 1,
				waits: []child{{busyboxPID, "", nil}, {agentPID, "", nil}}}
			err := boot(f)
			if fatal := !errors.Is(err, errEnough); fatal != tt.fatal || fatal && !errors.Is(err, tt.err) {
				t.Errorf("error %v", err)
			}
			if tt.log != "" && !slices.Contains(f.log, tt.log) || tt.log == "" && len(f.log) > 1 {
				t.Errorf("log %q, want %q", f.log, tt.log)
			}
		})
	}
}

func TestBusyboxFails(t *testing.T) {
	f := &fakeSystem{starts: 1, waits: []child{{busyboxPID, "status 1", nil}, {agentPID, "", nil}}}
	if err := boot(f); !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	if f.log[0] != "install busybox: status 1" {
		t.Errorf("log %q", f.log)
	}
}

// PID 1 that cannot reap must say so and end, not spin.
func TestWaitFails(t *testing.T) {
	f := &fakeSystem{starts: 1, waits: []child{{busyboxPID, "", nil}}}
	if err := boot(f); !errors.Is(err, unix.ECHILD) {
		t.Errorf("error %v", err)
	}
}

// Mount points that the image lacks are made.
func TestMountPoints(t *testing.T) {
	f := &fakeSystem{dirs: map[string]bool{"/dev": true, "/proc": true, "/sys": true}, starts: 0,
		waits: []child{{busyboxPID, "", nil}}}
	if err := boot(f); !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	for _, d := range []string{"/run", "/tmp", "/dev/shm", "/dev/pts", "/dev/hugepages"} {
		if !slices.Contains(f.calls, "mkdir "+d+" 0755") {
			t.Errorf("%s was not made", d)
		}
	}
}
