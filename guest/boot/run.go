package boot

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Files of the two ramdisks.
const (
	modulesDir  = "/modules"
	stockModule = "/nsm.ko" // where stock bootstrap ramdisks have the NSM driver
	commandFile = "/cmd"
	envFile     = "/env"
	rootDir     = "/rootfs"
)

const hostname = "enclave"

// Run boots the enclave and does not return if all goes well: the machine
// resets after the application ended. It must run as PID 1. After an error the
// caller exits, which the kernel answers with a panic.
func Run() error { return run(linux{}) }

func run(sys system) error {
	sys.CatchSignals()
	if err := mountDev(sys); err != nil {
		return err
	}
	if err := sys.OpenConsole(); err != nil {
		return fmt.Errorf("open console: %w", err)
	}
	if err := loadModules(sys); err != nil {
		return err
	}
	if err := sys.Heartbeat(); err != nil {
		return fmt.Errorf("heartbeat to parent: %w", err)
	}
	command, env, err := readConfig(sys)
	if err != nil {
		return err
	}
	if err := enterRoot(sys); err != nil {
		return err
	}
	if err := mountAll(sys); err != nil {
		return err
	}
	// Neither is worth an enclave: an application without use for them runs.
	if err := sys.SetHostname(hostname); err != nil {
		sys.Log("set host name: " + err.Error())
	}
	if err := sys.LoopbackUp(); err != nil {
		sys.Log("bring up loopback: " + err.Error())
	}
	status, err := runApplication(sys, command, env)
	if err != nil {
		return err
	}
	sys.Log("application ended: " + status.String())
	sys.Sync()
	if err := sys.Reboot(); err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	return nil
}

// loadModules loads and deletes the stock driver if there is one, then what is
// in modulesDir. Their memory is the ramdisk's and thus the application's.
func loadModules(sys system) error {
	names, err := sys.ListDir(modulesDir)
	if err != nil && err != unix.ENOENT {
		return fmt.Errorf("list %s: %w", modulesDir, err)
	}
	var paths []string
	for _, name := range names {
		if strings.HasSuffix(name, ".ko") {
			paths = append(paths, modulesDir+"/"+name)
		}
	}
	slices.Sort(paths)
	paths = append(paths, stockModule)
	for _, path := range paths {
		switch err := sys.LoadModule(path); {
		case err == unix.ENOENT && path == stockModule:
			continue
		case err != nil && err != unix.EEXIST: // EEXIST: loaded or built in
			return fmt.Errorf("load module %s: %w", path, err)
		}
		if err := sys.Unlink(path); err != nil {
			sys.Log("delete " + path + ": " + err.Error())
		}
	}
	return nil
}

// readConfig reads and deletes the application's command and environment.
func readConfig(sys system) (command, env []string, err error) {
	raw, err := sys.ReadFile(commandFile, maxConfig)
	if err != nil {
		return nil, nil, fmt.Errorf("read command: %w", err)
	}
	if command, err = ParseCommand(raw); err != nil {
		return nil, nil, err
	}
	raw, err = sys.ReadFile(envFile, maxConfig)
	if err != nil && err != unix.ENOENT {
		return nil, nil, fmt.Errorf("read environment: %w", err)
	}
	if env, err = ParseEnv(raw); err != nil {
		return nil, nil, err
	}
	for _, f := range []string{envFile, commandFile} {
		if err := sys.Unlink(f); err != nil && err != unix.ENOENT {
			sys.Log("delete " + f + ": " + err.Error())
		}
	}
	return command, env, nil
}

// enterRoot makes rootDir the root of this process and its children. The
// initial ramdisk's root cannot be unmounted, so that it is covered: rootDir
// becomes a mount of its own, which is moved over it.
func enterRoot(sys system) error {
	if err := sys.Mount(rootDir, rootDir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", rootDir, err)
	}
	if err := sys.Chdir(rootDir); err != nil {
		return fmt.Errorf("enter %s: %w", rootDir, err)
	}
	if err := sys.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move %s to /: %w", rootDir, err)
	}
	if err := sys.Chroot("."); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := sys.Chdir("/"); err != nil {
		return fmt.Errorf("enter new root: %w", err)
	}
	return nil
}

// runApplication starts the application and reaps all children, orphans
// included, until it ends. As with the stock init, a command that cannot be
// started is an application that ended, not a failed boot.
func runApplication(sys system, command, env []string) (Status, error) {
	pid, err := sys.Start(command, env)
	if err != nil {
		sys.Log("start " + command[0] + ": " + err.Error())
		return Status{Code: statusNotFound}, nil
	}
	for {
		child, status, err := sys.Wait()
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return Status{}, fmt.Errorf("wait for application: %w", err)
		}
		if child == pid && !status.Stopped {
			return status, nil
		}
	}
}
