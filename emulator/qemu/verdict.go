package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// slowVerdictTTL is how long a doubtful verdict holds. It saves the programs of
// one test run the wait, and no more.
const slowVerdictTTL = 10 * time.Minute

// A cachedVerdict is the file in the cache.
type cachedVerdict struct {
	verdict
	Key     string     `json:"key"`
	Expires *time.Time `json:"expires,omitempty"`
}

// verdict takes the answer from the cache, or probes and remembers. Of several
// processes that ask at once, one probes.
func (cfg *ProbeConfig) verdict(ctx context.Context) (verdict, error) {
	if cfg.CacheDir == "" {
		return cfg.probe(ctx)
	}
	key, err := cfg.key()
	if err != nil {
		return verdict{}, err
	}
	if err := os.MkdirAll(cfg.CacheDir, 0o700); err != nil {
		return verdict{}, fmt.Errorf("qemu: CacheDir: %w", err)
	}
	name := filepath.Join(cfg.CacheDir, "kvm-"+key[:16]+".json")
	if v, ok := loadVerdict(name, key); ok {
		return v, nil
	}
	unlock, err := lockFile(ctx, name+".lock")
	if err != nil {
		return verdict{}, fmt.Errorf("qemu: CacheDir: %w", err)
	}
	defer unlock()
	if v, ok := loadVerdict(name, key); ok {
		return v, nil // somebody else was at it
	}
	v, err := cfg.probe(ctx)
	if err != nil {
		return verdict{}, err
	}
	// A cache that cannot be written costs time, not correctness.
	if err := storeVerdict(name, key, v); err != nil {
		cfg.Log.Warn("KVM verdict is not remembered", "error", err)
	}
	return v, nil
}

// loadVerdict reads the cache. A file that is damaged, expired or about
// something else counts as none.
func loadVerdict(name, key string) (verdict, bool) {
	b, err := os.ReadFile(name)
	if err != nil {
		return verdict{}, false
	}
	var c cachedVerdict
	if json.Unmarshal(b, &c) != nil || c.Key != key {
		return verdict{}, false
	}
	if c.Expires != nil && time.Now().After(*c.Expires) {
		return verdict{}, false
	}
	return c.verdict, true
}

func storeVerdict(name, key string, v verdict) error {
	c := cachedVerdict{verdict: v, Key: key}
	if v.slow {
		t := time.Now().Add(slowVerdictTTL)
		c.Expires = &t
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".kvm-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// bootID changes with every boot of the host.
const bootID = "/proc/sys/kernel/random/boot_id"

// key stands for all that the verdict depends on: the boot of the host, the user,
// the KVM device, QEMU with everything it is started through, and the kernel.
func (cfg *ProbeConfig) key() (string, error) {
	boot, err := os.ReadFile(bootID)
	if err != nil {
		return "", fmt.Errorf("qemu: identify the boot of the host: %w", err)
	}
	parts := []string{
		"1", // of this format
		strings.TrimSpace(string(boot)),
		strconv.Itoa(os.Geteuid()),
		fileIdentity(cfg.device),
	}
	if len(cfg.Binary) == 0 {
		return "", errors.New("qemu: Binary is empty")
	}
	program, err := exec.LookPath(cfg.Binary[0])
	if err != nil {
		return "", fmt.Errorf("qemu: Binary: %w", err)
	}
	parts = append(parts, program, fileIdentity(program))
	for _, arg := range cfg.Binary[1:] {
		parts = append(parts, arg, fileIdentity(arg))
	}
	parts = append(parts, cfg.Env...)
	if err := readable("Kernel", cfg.Kernel); err != nil {
		return "", fmt.Errorf("qemu: %w", err)
	}
	parts = append(parts, cfg.Kernel, fileIdentity(cfg.Kernel))
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:]), nil
}

// fileIdentity changes when a file is replaced or rewritten; empty if there is
// none.
func fileIdentity(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	id := fmt.Sprintf("%d %d", st.Size(), st.ModTime().UnixNano())
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		id += fmt.Sprintf(" %d:%d %d", sys.Dev, sys.Ino, sys.Rdev)
	}
	if st.Mode()&os.ModeDevice != 0 {
		// Opening a device changes its times.
		id = id[strings.LastIndexByte(id, ' ')+1:]
	}
	return id
}

// lockFile takes a lock across processes, as patiently as ctx.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			_ = f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}
