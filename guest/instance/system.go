package instance

// system is what PID 1 asks of the kernel. The real one is in linux.go; tests
// record the calls and make them fail. Errors are the kernel's own.
type system interface {
	// CatchSignals makes signals have no effect on this process, and leaves
	// those of children as they are.
	CatchSignals()
	// OpenConsole makes /dev/console standard input, output and error.
	OpenConsole() error

	Mount(source, target, fstype string, flags uintptr, data string) error
	Mkdir(path string, mode uint32) error
	Symlink(target, path string) error
	// ListDir returns the names in a folder.
	ListDir(path string) ([]string, error)
	LoadModule(path string) error
	LoopbackUp() error

	// Start runs argv in a new session and returns its process id.
	Start(argv, env []string) (pid int, err error)
	// Wait returns the next child that ended, with how it did as a few words.
	Wait() (pid int, how string, err error)
	// Pause waits a second.
	Pause()

	Log(line string)
}
