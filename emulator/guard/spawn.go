package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// spec checks the configuration and completes it.
func (cfg Config) spec() (*spec, error) {
	if cfg.Path == "" {
		return nil, errors.New("guard: Path is empty")
	}
	path, err := exec.LookPath(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("guard: Path: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("guard: Path: %w", err)
	}
	if slices.Contains(cfg.Files, nil) {
		return nil, errors.New("guard: Files holds a nil file")
	}
	if err := checkRemovable(cfg.Remove); err != nil {
		return nil, err
	}
	env := cfg.Env
	if env == nil {
		env = os.Environ()
	}
	env = slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		return strings.HasPrefix(v, guardEnv+"=") || strings.HasPrefix(v, idEnv+"=")
	})
	return &spec{
		Path:   path,
		Args:   append([]string{cfg.Path}, cfg.Args...),
		Env:    env,
		Dir:    cfg.Dir,
		Remove: cfg.Remove,
	}, nil
}

// spawn starts the first guard.
func (p *Process) spawn(role string, sp *spec, cfg Config) error {
	sf, err := sp.file()
	if err != nil {
		return err
	}
	defer sf.Close()
	local, remote, err := SocketPair()
	if err != nil {
		return err
	}
	defer remote.Close()
	p.cmd = &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        []string{guardName, role},
		Env:         guardEnviron(role, len(cfg.Files)),
		Stdin:       cfg.Stdin,
		Stdout:      cfg.Stdout,
		Stderr:      cfg.Stderr,
		ExtraFiles:  append(slices.Clone(cfg.Files), remote, sf),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
		// A stray that SIGKILL does not end may hold the pipes for ever.
		WaitDelay: 5 * time.Second,
	}
	if err := p.cmd.Start(); err != nil {
		_ = local.Close()
		return err
	}
	p.control = local
	p.reports = json.NewDecoder(local)
	return nil
}

// guardEnviron is a guard's whole environment.
func guardEnviron(role string, files int) []string {
	return []string{guardEnv + "=" + role + ":" + strconv.Itoa(files), "GOMAXPROCS=1"}
}
