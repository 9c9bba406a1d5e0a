package initramfs

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/kmod"
)

// Names of the two-ramdisk layout of nitro-cli (init.c of
// aws-nitro-enclaves-sdk-bootstrap): the first ramdisk boots, the second holds
// the application. Either half works with the other's stock counterpart.
const (
	initName    = "init"    // PID 1
	commandName = "cmd"     // argv, one argument a line
	envName     = "env"     // environment, one NAME=value a line
	rootName    = "rootfs"  // becomes / of the application
	modulesName = "modules" // only here: modules which init loads, in order of their names
)

// Bootstrap returns the files of the first ramdisk: init as PID 1 and the
// modules it loads before anything else, in the given order. /dev/console is
// there because the kernel opens it for PID 1 before devtmpfs is mounted; Go's
// runtime does not start with the three standard descriptors closed and nothing
// to open instead.
func Bootstrap(init []byte, modules []kmod.Module) []File {
	files := []File{
		cpio.StaticFile(initName, string(init), 0o755),
		cpio.Directory("dev", 0o755),
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.Directory(modulesName, 0o755),
	}
	digits := max(2, len(strconv.Itoa(len(modules)-1)))
	for i, m := range modules {
		name := fmt.Sprintf("%s/%0*d-%s.ko", modulesName, digits, i, m.Name)
		files = append(files, cpio.StaticRecord(m.Image, cpio.Info{Name: name, Mode: cpio.S_IFREG | 0o644}))
	}
	return files
}

// An Application is what the second ramdisk holds.
type Application struct {
	// Command is the program with its arguments. The program is looked for in
	// /sbin:/usr/sbin:/bin:/usr/bin of Root if its name holds no slash.
	Command []string

	// Env is the environment as NAME=value. Empty means the four directories
	// above as PATH and nothing else, which is init's doing.
	Env []string

	// Root is the file system the program sees, with names from its root.
	// Mount points that are missing (dev, proc, sys, run, tmp) are added.
	Root []File
}

// Files returns the files of the second ramdisk. An argument or a variable
// that its line-based format cannot carry is an error.
func (a Application) Files() ([]File, error) {
	if len(a.Command) == 0 || a.Command[0] == "" {
		return nil, fmt.Errorf("application: no command")
	}
	command, err := lines(commandName, a.Command)
	if err != nil {
		return nil, err
	}
	for _, v := range a.Env {
		if i := strings.IndexByte(v, '='); i <= 0 {
			return nil, fmt.Errorf("application env: %q is not NAME=value", v)
		}
	}
	env, err := lines(envName, a.Env)
	if err != nil {
		return nil, err
	}

	files := []File{
		cpio.StaticFile(commandName, command, 0o644),
		cpio.StaticFile(envName, env, 0o644),
	}
	have := make(map[string]bool, len(a.Root))
	for _, f := range a.Root {
		f.Name = cpio.Normalize(f.Name)
		if f.Name == ".." || strings.HasPrefix(f.Name, "../") {
			return nil, fmt.Errorf("application root: %q is not below the root", f.Name)
		}
		if f.Name == "." {
			continue
		}
		have[f.Name] = true
		f.Name = path.Join(rootName, f.Name)
		files = append(files, f)
	}
	for _, dir := range []string{"dev", "proc", "sys", "run", "tmp"} {
		if !have[dir] && !hasChild(have, dir) {
			files = append(files, cpio.Directory(path.Join(rootName, dir), 0o755))
		}
	}
	return files, nil
}

func hasChild(have map[string]bool, dir string) bool {
	for name := range have {
		if strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}

func lines(file string, values []string) (string, error) {
	var b strings.Builder
	for _, v := range values {
		if strings.ContainsAny(v, "\n\x00") {
			return "", fmt.Errorf("application %s: %q holds a line feed or a zero byte, which its line-based file cannot carry", file, v)
		}
		b.WriteString(v)
		b.WriteByte('\n')
	}
	return b.String(), nil
}
