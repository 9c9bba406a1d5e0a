package instance

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A mount is one file system.
type mount struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
	optional               bool // the kernel may have none of that type
}

const restricted = unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOEXEC

var devMount = mount{"dev", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755", false}

// mounts are those of a usual distribution. Programs may be run from /tmp and
// /run, as there.
var mounts = []mount{
	{"proc", "/proc", "proc", restricted, "", false},
	{"sysfs", "/sys", "sysfs", restricted, "", false},
	{"tmpfs", "/run", "tmpfs", unix.MS_NODEV | unix.MS_NOSUID, "mode=0755", false},
	{"tmpfs", "/tmp", "tmpfs", unix.MS_NODEV | unix.MS_NOSUID, "mode=1777", false},
	{"shm", "/dev/shm", "tmpfs", unix.MS_NODEV | unix.MS_NOSUID, "mode=1777", false},
	{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666", false},
	{"cgroup2", "/sys/fs/cgroup", "cgroup2", restricted, "", true},
	// nitro-cli takes the memory of enclaves from mmap(MAP_HUGETLB); other tools
	// want it by name.
	{"hugetlbfs", "/dev/hugepages", "hugetlbfs", unix.MS_NODEV | unix.MS_NOSUID, "mode=1770", true},
	{"debugfs", "/sys/kernel/debug", "debugfs", restricted, "", true},
}

// links are the symbolic links every program expects in /dev.
var links = []struct{ path, target string }{
	{"/dev/fd", "/proc/self/fd"},
	{"/dev/stdin", "/proc/self/fd/0"},
	{"/dev/stdout", "/proc/self/fd/1"},
	{"/dev/stderr", "/proc/self/fd/2"},
}

// runDirs are folders that programs expect below /run.
var runDirs = []string{"/run/lock", "/run/nitro_enclaves", stateDir}

// mountDev mounts /dev. The kernel may have done so (CONFIG_DEVTMPFS_MOUNT), which
// is EBUSY.
func mountDev(sys system) error {
	if err := doMount(sys, devMount); err != nil && err != unix.EBUSY {
		return fmt.Errorf("mount /dev: %w", err)
	}
	return nil
}

func mountAll(sys system) error {
	for _, l := range links {
		if err := sys.Symlink(l.target, l.path); err != nil && err != unix.EEXIST {
			return fmt.Errorf("link %s: %w", l.path, err)
		}
	}
	for _, m := range mounts {
		err := doMount(sys, m)
		if m.optional && (err == unix.ENODEV || err == unix.ENOENT) {
			continue
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	for _, d := range runDirs {
		if err := sys.Mkdir(d, 0o755); err != nil && err != unix.EEXIST {
			return fmt.Errorf("make %s: %w", d, err)
		}
	}
	return nil
}

// doMount mounts m and makes the mount point first if it is missing.
func doMount(sys system, m mount) error {
	err := sys.Mount(m.source, m.target, m.fstype, m.flags, m.data)
	if err != unix.ENOENT {
		return err
	}
	if err := sys.Mkdir(m.target, 0o755); err != nil && err != unix.EEXIST {
		return err
	}
	return sys.Mount(m.source, m.target, m.fstype, m.flags, m.data)
}
