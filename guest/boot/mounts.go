package boot

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// A mount is one file system of the application's view.
type mount struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}

const restricted = unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOEXEC

// devMount is mounted twice, in the ramdisk and in the application's root. The
// two are one file system.
var devMount = mount{"dev", "/dev", "devtmpfs", unix.MS_NOSUID | unix.MS_NOEXEC, ""}

// mounts are those of the stock init, in its order, except that cgroup2 is one
// hierarchy and needs no tmpfs to hold several.
var mounts = []mount{
	{"proc", "/proc", "proc", restricted, ""},
	{"tmpfs", "/run", "tmpfs", restricted, "mode=0755"},
	{"tmpfs", "/tmp", "tmpfs", restricted, ""},
	{"shm", "/dev/shm", "tmpfs", restricted, ""},
	{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "ptmxmode=0666"},
	{"sysfs", "/sys", "sysfs", restricted, ""},
	{"cgroup2", "/sys/fs/cgroup", "cgroup2", restricted, ""},
}

// links are the symbolic links every program expects in /dev.
var links = []struct{ path, target string }{
	{"/dev/fd", "/proc/self/fd"},
	{"/dev/stdin", "/proc/self/fd/0"},
	{"/dev/stdout", "/proc/self/fd/1"},
	{"/dev/stderr", "/proc/self/fd/2"},
}

// mountDev mounts /dev. The kernel may have done so (CONFIG_DEVTMPFS_MOUNT,
// devtmpfs.mount=1), which is EBUSY.
func mountDev(sys system) error {
	if err := doMount(sys, devMount); err != nil && err != unix.EBUSY {
		return fmt.Errorf("mount /dev: %w", err)
	}
	return nil
}

// mountAll mounts what the application sees below its root.
func mountAll(sys system) error {
	if err := mountDev(sys); err != nil {
		return err
	}
	for _, l := range links {
		if err := sys.Symlink(l.target, l.path); err != nil && err != unix.EEXIST {
			return fmt.Errorf("link %s: %w", l.path, err)
		}
	}
	for _, m := range mounts {
		err := doMount(sys, m)
		if err == unix.ENODEV && m.fstype == "cgroup2" {
			continue // a kernel without control groups
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return nil
}

// doMount mounts m and makes the mount point first if it is missing: images
// made from a single program have none.
func doMount(sys system, m mount) error {
	err := sys.Mount(m.source, m.target, m.fstype, m.flags, m.data)
	if err != unix.ENOENT {
		return err
	}
	if dir := path.Dir(m.target); dir != "/" {
		if err := sys.Mkdir(dir, 0o755); err != nil && err != unix.EEXIST {
			return err
		}
	}
	if err := sys.Mkdir(m.target, 0o755); err != nil && err != unix.EEXIST {
		return err
	}
	return sys.Mount(m.source, m.target, m.fstype, m.flags, m.data)
}
