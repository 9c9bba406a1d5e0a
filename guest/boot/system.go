package boot

// system is what the boot sequence asks of the kernel. The real one is in
// linux.go; tests record the calls and make them fail.
type system interface {
	// CatchSignals makes signals have no effect on this process, and leaves
	// those of children as they are.
	CatchSignals()

	Mount(source, target, fstype string, flags uintptr, data string) error
	Mkdir(path string, mode uint32) error
	Symlink(target, path string) error
	Unlink(path string) error
	Chdir(path string) error
	Chroot(path string) error

	// ReadFile returns at most limit bytes of a file; a longer one is an error.
	ReadFile(path string, limit int) ([]byte, error)
	// ListDir returns the names in a folder.
	ListDir(path string) ([]string, error)

	// OpenConsole makes /dev/console standard input, output and error.
	OpenConsole() error
	LoadModule(path string) error
	// Heartbeat tells the parent that the enclave is up, and waits for its echo.
	Heartbeat() error
	SetHostname(name string) error
	LoopbackUp() error

	// Start runs argv in a new session and returns its process id.
	Start(argv, env []string) (pid int, err error)
	// Wait returns the next child that ended.
	Wait() (pid int, s Status, err error)

	Log(line string)
	Sync()
	Reboot() error
}
