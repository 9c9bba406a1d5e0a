package qemu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nitrolab/nitrolab/emulator/guard"
	"github.com/nitrolab/nitrolab/emulator/qmp"
)

const (
	// startTimeout is how long QEMU may take to create its machine and answer
	// on its monitor, before Accel scales it. It takes 0.1 s; a machine that
	// swaps takes seconds.
	startTimeout = 10 * time.Second

	// DefaultLogLimit is where the files of console and messages end, in
	// bytes. What is in memory goes on.
	DefaultLogLimit = 16 << 20
)

// A Config says what to start. Binary and Devices are required.
type Config struct {
	// Binary is QEMU: its path, or several words in front of the arguments,
	// such as a dynamic loader with its options and then QEMU.
	Binary []string

	// Env is added to what QEMU inherits of the environment, which is PATH,
	// HOME, TMPDIR, LANG and LD_LIBRARY_PATH: whatever secrets the others hold
	// are no business of a process that a guest may take over.
	Env []string

	// Devices make the command line. Start owns the files that they hold, from
	// the call on, also when it fails. It adds the console, the monitor, the
	// name, and that there is no screen, no default device and no reboot.
	Devices []Device

	// Accel scales the deadlines. It is no device of its own: put it into
	// Devices too.
	Accel Accel

	// Name is what QEMU calls the guest in its messages; may be empty.
	Name string

	// Dir gets console.log, qemu.log and command.sh. It must exist. Empty
	// keeps nothing on disk.
	Dir string

	// Remove lists paths that go if this process ends before QEMU; see
	// guard.Config.
	Remove []string

	// Paused leaves the guest before its first instruction, or where an
	// incoming migration ends, until the caller sends "cont".
	Paused bool

	// LogLimit is where console.log and qemu.log end, each; 0 means
	// DefaultLogLimit.
	LogLimit int64

	// Log gets what happens, at debug level. Nil means no log.
	Log *slog.Logger
}

// inherited are the variables that QEMU gets from us.
var inherited = []string{"PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH"}

// Start starts a guest under guard: whatever becomes of this process, QEMU does
// not outlive it. It returns when the monitor is connected and the guest runs.
// ctx bounds that only.
//
// A mistake in cfg is a plain error, everything else an *InfraError. On error
// nothing is left.
func Start(ctx context.Context, cfg Config) (_ *Process, err error) {
	defer closeFiles(cfg.Devices)
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &starting{cfg: cfg}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.prepare(); err != nil {
		return nil, err
	}
	return s.run(ctx)
}

func (cfg *Config) check() error {
	if len(cfg.Binary) == 0 || cfg.Binary[0] == "" {
		return errors.New("qemu: Binary is empty")
	}
	if _, err := exec.LookPath(cfg.Binary[0]); err != nil {
		return fmt.Errorf("qemu: Binary: %w", err)
	}
	if cfg.Dir != "" {
		if st, err := os.Stat(cfg.Dir); err != nil {
			return fmt.Errorf("qemu: Dir: %w", err)
		} else if !st.IsDir() {
			return fmt.Errorf("qemu: Dir: %s is no directory", cfg.Dir)
		}
	}
	for _, v := range cfg.Env {
		if i := strings.IndexByte(v, '='); i < 1 {
			return fmt.Errorf("qemu: Env: %q is not NAME=VALUE", v)
		}
	}
	for _, path := range cfg.Remove {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("qemu: Remove: %q is not an absolute path", path)
		}
	}
	if cfg.LogLimit == 0 {
		cfg.LogLimit = DefaultLogLimit
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// starting is a process that is not there yet: all that must be given back if
// it never comes.
type starting struct {
	cfg  Config
	line *CommandLine

	console  *Console
	stderr   *tail
	monitor  *qmp.Client
	guarded  *guard.Process
	ours     []Device // holds our ends to inherit
	repro    string
	consoleR net.Conn
}

// prepare builds the command line and all that needs no process.
func (s *starting) prepare() error {
	consoleConn, consoleFile, err := guard.SocketPair()
	if err != nil {
		return s.infra("create the console", err)
	}
	s.ours = append(s.ours, consoleSocket{consoleFile})
	s.consoleR = consoleConn
	monitorConn, monitorFile, err := guard.SocketPair()
	if err != nil {
		return s.infra("create the monitor", err)
	}
	s.ours = append(s.ours, monitorSocket{monitorFile})
	s.monitor = qmp.New(monitorConn, &qmp.Config{Log: s.cfg.Log})

	s.ours = append(s.ours, headless{})
	if s.cfg.Name != "" {
		s.ours = append(s.ours, Extra{QEMU: []string{"-name", escape(s.cfg.Name)}})
	}
	if s.line, err = Build(slices.Concat(s.cfg.Devices, s.ours)...); err != nil {
		return err
	}
	s.repro = reproduce(s.cfg.Env, s.cfg.Binary, s.line)
	consoleLog, stderrLog, err := s.cfg.logs(s.repro)
	if err != nil {
		return s.infra("create logs", err)
	}
	s.stderr = newTail(stderrLog)
	s.console = newConsole(s.consoleR, consoleLog)
	return nil
}

// logs creates the files in Dir.
func (cfg *Config) logs(command string) (console, stderr *logFile, err error) {
	if cfg.Dir == "" {
		return nil, nil, nil
	}
	script := "#!/bin/sh\n" + command + "\n"
	if err := os.WriteFile(filepath.Join(cfg.Dir, "command.sh"), []byte(script), 0o700); err != nil {
		return nil, nil, err
	}
	if console, err = createLog(filepath.Join(cfg.Dir, "console.log"), cfg.LogLimit); err != nil {
		return nil, nil, err
	}
	if stderr, err = createLog(filepath.Join(cfg.Dir, "qemu.log"), cfg.LogLimit); err != nil {
		console.close()
		return nil, nil, err
	}
	return console, stderr, nil
}

// run starts QEMU and waits for its monitor.
func (s *starting) run(ctx context.Context) (*Process, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Accel.Timeout(startTimeout))
	defer cancel()
	s.cfg.Log.Debug("start QEMU", "command", s.repro)
	events := s.monitor.Subscribe() // before anything can happen
	var err error
	s.guarded, err = guard.Start(ctx, guard.Config{
		Path:   s.cfg.Binary[0],
		Args:   slices.Concat(s.cfg.Binary[1:], s.line.Args),
		Env:    s.cfg.environ(),
		Stdout: s.stderr,
		Stderr: s.stderr,
		Files:  s.line.Files,
		Remove: s.cfg.Remove,
	})
	if err != nil {
		return nil, s.infra("start QEMU", err)
	}
	// QEMU has its copies. Ours must go, or the other ends never see its end.
	closeFiles(s.cfg.Devices)
	closeFiles(s.ours)

	if err := s.monitor.ConnectContext(ctx); err != nil {
		return nil, s.notConnected(err)
	}
	p := newProcess(s, events)
	if s.cfg.Paused {
		return p, nil
	}
	if err := s.monitor.Execute(ctx, "cont", nil, nil); err != nil {
		_ = p.Close()
		return nil, s.infra("let the guest run", err)
	}
	return p, nil
}

// notConnected says why the monitor does not answer: usually QEMU has ended, and
// has said why.
func (s *starting) notConnected(err error) error {
	if errors.Is(err, qmp.ErrDisconnected) {
		select {
		case <-s.guarded.Done():
			if status, waitErr := s.guarded.Wait(); waitErr == nil {
				return s.infra("start QEMU", fmt.Errorf("it ended before its monitor answered: %v", status))
			}
		case <-time.After(time.Second):
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("its monitor does not answer (does every vhost-user back end?): %w", err)
	}
	// Its messages come through a pipe that ends with it.
	_ = s.guarded.Close()
	return s.infra("start QEMU", err)
}

func (s *starting) infra(title string, err error) error {
	e := &InfraError{Title: "qemu: " + title, Err: err, Reproduce: s.repro, Kept: s.cfg.Dir}
	if s.stderr != nil {
		e.Stderr = s.stderr.Tail(stderrBacklog)
	}
	return e
}

// close gives everything back, in an order that cannot hang: the process first,
// because the console's reader ends with it.
func (s *starting) close() {
	if s.guarded != nil {
		_ = s.guarded.Close()
	}
	closeFiles(s.ours)
	if s.monitor != nil {
		_ = s.monitor.Close()
	}
	if s.console != nil {
		s.console.close()
	} else if s.consoleR != nil {
		_ = s.consoleR.Close()
	}
	if s.stderr != nil {
		s.stderr.close()
	}
}

func (cfg *Config) environ() []string {
	var env []string
	for _, name := range inherited {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(env, cfg.Env...)
}
