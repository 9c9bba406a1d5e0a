package emulator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nitrolab/nitrolab/emulator/qemu"
)

// snapshotFormat is in the key of every snapshot; a change of what a snapshot
// holds or how it is made changes it.
const snapshotFormat = "1"

// snapshot opens the snapshot for a configuration, and says whether it was made
// for that.
func (h *Host) snapshot(ctx context.Context, cfg InstanceConfig) (_ *snapshot, made bool, err error) {
	key, err := h.snapshotKey(cfg)
	if err != nil {
		return nil, false, err
	}
	store := snapshotStore{filepath.Join(h.cfg.CacheDir, "instances")}
	return store.get(ctx, key, h.checkClock, func(ctx context.Context, dir string) error {
		return h.makeSnapshot(ctx, cfg, dir)
	})
}

// snapshotKey is a digest of all that a snapshot depends on.
func (h *Host) snapshotKey(cfg InstanceConfig) (string, error) {
	q := h.cfg.Tools.QEMU
	st, err := os.Stat(q.Path)
	if err != nil {
		return "", fmt.Errorf("launch: QEMU: %w", err)
	}
	hash := sha256.New()
	accel := h.cfg.Accel
	fmt.Fprintf(hash, "%s\n%s %s %d %d\n%s %s\n", snapshotFormat, q.Path, q.Version, st.Size(), st.ModTime().UnixNano(), accel.Name, accel.CPUModel())
	if accel.Name == qemu.KVM { // the guest has seen the host's own processor
		fmt.Fprintf(hash, "%s\n", hostCPU())
	}
	fmt.Fprintf(hash, "%s\n%q\n", cfg.Image.SHA256, cfg.Image.KernelArgs)
	fmt.Fprintf(hash, "%s %d %d %d %d\n", cfg.Type, cfg.CPUs, cfg.Threads, cfg.MemoryMiB, rootPorts)
	return hex.EncodeToString(hash.Sum(nil))[:32], nil
}

// hostCPU is what Linux says of the first processor; empty if it does not.
func hostCPU() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(name) {
		case "":
			return b.String()
		case "vendor_id", "cpu family", "model", "stepping", "microcode", "flags":
			b.WriteString(line)
		}
	}
	return b.String()
}

// checkClock refuses a snapshot that was made on a machine with another clock.
func (h *Host) checkClock(s *snapshot) error {
	if h.cfg.Accel.Name == qemu.KVM {
		return nil
	}
	khz, err := qemu.HostTSCKHz()
	if err != nil {
		return nil // it could not be measured then either
	}
	if d := khz - s.TSCKHz; d*1000 > khz || -d*1000 > khz { // a promille; measurements differ by 50 ppm
		return fmt.Errorf("%w: its clock has %d kHz, this machine's %d", errStale, s.TSCKHz, khz)
	}
	return nil
}

// makeSnapshot boots an instance without cards and saves it into dir.
func (h *Host) makeSnapshot(ctx context.Context, cfg InstanceConfig, dir string) (err error) {
	began := time.Now()
	identity, err := newMachineIdentity(h.entropy)
	if err != nil {
		return err
	}
	cfg.Remove = append(slices.Clone(cfg.Remove), dir)
	i, err := h.newInstance(cfg, identity)
	if err != nil {
		return err
	}
	i.began = began
	defer func() {
		if err != nil {
			err = i.abandon(ctx, err)
			return
		}
		i.takeDown()
		i.removeDir()
	}()
	if err := i.boot(ctx); err != nil {
		return err
	}
	if err := i.machine.process.Continue(ctx); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := i.within(ctx, bootTimeout, "its agent did not answer", i.control.Quiesce); err != nil {
		return err
	}
	booted := time.Since(began)
	info := snapshotInfo{Template: identity}
	if h.cfg.Accel.Name != qemu.KVM {
		info.TSCKHz, _ = qemu.HostTSCKHz() // 0 if the guest had to measure it
	}
	err = i.within(ctx, saveTimeout, "it could not be saved", func(ctx context.Context) error {
		return i.machine.process.Save(ctx, filepath.Join(dir, snapshotStateName))
	})
	if err != nil {
		return err
	}
	if info.Marks, err = findMarks(i.ram, identity); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := info.write(ctx, dir); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	h.cfg.Log.Info("snapshot made", "booted", seconds(booted), "after", seconds(time.Since(began)), "marks", len(info.Marks))
	return nil
}

// restore brings a snapshot to life, paused, with this instance's identity.
func (i *Instance) restore(ctx context.Context, snap *snapshot) error {
	verifying, cancel := context.WithCancel(ctx)
	defer cancel()
	sum := make(chan error, 1)
	go func() { sum <- snap.verify(verifying) }()
	defer func() { cancel(); <-sum }()

	if err := i.startQEMU(ctx, qemu.Incoming{}); err != nil {
		return err
	}
	loadErr := i.machine.process.Restore(ctx, snap.statePath())
	sumErr := <-sum
	sum <- nil // for the deferred receive
	if ctx.Err() != nil {
		return fmt.Errorf("launch: %w", ctx.Err())
	}
	// A state that is not what was written is no fault of QEMU's.
	if err := errors.Join(sumErr, loadErr); err != nil {
		return i.stale(snap, err)
	}
	if err := stamp(i.ram, snap.Marks, snap.Template, i.identity); err != nil {
		return i.stale(snap, err)
	}
	return nil
}

// stale discards a snapshot and says so.
func (i *Instance) stale(snap *snapshot, err error) error {
	return errors.Join(fmt.Errorf("%w: %w", errStale, err), discard(snap.dir))
}
