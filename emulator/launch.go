package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/guest/instance/control"
)

// Launch starts an instance and returns when its agent answers and its drivers
// have found the Nitro cards. ctx bounds the launch only.
//
// The first launch of an image on a shape of machine boots it, and keeps a
// snapshot; later ones restore that in a fraction of the time. A snapshot that is
// damaged or does not come up is made again. With cfg.Cold the instance boots.
func (h *Host) Launch(ctx context.Context, cfg InstanceConfig) (*Instance, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.closing, cancel)()
	if err := h.beginLaunch(); err != nil {
		return nil, err
	}
	defer h.launching.Done()

	began := time.Now()
	i, err := h.launch(ctx, cfg, began)
	for tries := 0; errors.Is(err, errStale) && ctx.Err() == nil && tries < 1; tries++ {
		h.cfg.Log.Warn("snapshot is made again", "err", err)
		i, err = h.launch(ctx, cfg, began)
	}
	if err != nil {
		if h.closing.Err() != nil {
			return nil, errClosed
		}
		return nil, err
	}
	return i, nil
}

func (h *Host) beginLaunch() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errClosed
	}
	h.launching.Add(1)
	return nil
}

// launch is one attempt. An error that wraps errStale says that the snapshot was
// at fault, which is gone then.
func (h *Host) launch(ctx context.Context, cfg InstanceConfig, began time.Time) (_ *Instance, err error) {
	identity, err := newMachineIdentity(h.entropy)
	if err != nil {
		return nil, err
	}
	var snap *snapshot
	made := false
	if !cfg.Cold && h.cfg.CacheDir != "" {
		if snap, made, err = h.snapshot(ctx, cfg); err != nil {
			return nil, err
		}
		defer snap.close()
	}
	i, err := h.newInstance(cfg, identity)
	if err != nil {
		return nil, err
	}
	i.began, i.warm, i.made = began, snap != nil, made
	defer func() {
		if err != nil {
			err = i.abandon(ctx, err)
		}
	}()
	if snap != nil {
		err = i.restore(ctx, snap)
	} else {
		err = i.boot(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := i.plugCards(ctx); err != nil {
		return nil, err
	}
	if err := i.resume(ctx); err != nil {
		if snap != nil && ctx.Err() == nil {
			return nil, errors.Join(fmt.Errorf("%w: %w", errStale, err), discard(snap.dir))
		}
		return nil, err
	}
	if err := i.awaitCards(ctx); err != nil {
		return nil, err
	}
	i.state = Running
	h.rememberInstance(i)
	go i.watch()
	i.log.Info("instance runs", "warm", i.warm, "answered", seconds(i.answered), "after", seconds(time.Since(began)))
	return i, nil
}

// newInstance makes what an instance has before its machine.
func (h *Host) newInstance(cfg InstanceConfig, identity machineIdentity) (_ *Instance, err error) {
	if cfg.Name == "" {
		cfg.Name = identity.InstanceID
	}
	i := &Instance{
		host: h, cfg: cfg, identity: identity,
		log:     h.cfg.Log.With("instance", identity.InstanceID),
		machine: newMachine(),
		state:   Starting,
		done:    make(chan struct{}),
	}
	if i.dir, err = os.MkdirTemp(h.Dir(), "instance-"); err != nil {
		return nil, fmt.Errorf("launch: %w", err)
	}
	size := uint64(cfg.MemoryMiB) << 20
	if i.ram, err = guestmem.NewRAM(size, guestmem.Q35Low(size)); err != nil {
		return nil, errors.Join(fmt.Errorf("launch: %w", err), os.RemoveAll(i.dir))
	}
	i.parent = newParent(identity.InstanceID, h.newSwitch())
	if err := errors.Join(h.services.ServeParent(i.parent.vsock), i.serveMetadata()); err != nil {
		return nil, errors.Join(err, i.parent.vsock.Close(), i.ram.Close(), os.RemoveAll(i.dir))
	}
	return i, nil
}

// abandon undoes a launch that failed, or that its caller has given up: then
// nothing is anybody's fault, and nothing is kept.
func (i *Instance) abandon(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = fmt.Errorf("launch: %w", ctx.Err())
	}
	i.takeDown()
	i.keepArtifacts(err)
	i.removeDir()
	return err
}

// resume lets the guest run, tells it who it is and takes its first answer.
func (i *Instance) resume(ctx context.Context) error {
	if err := i.machine.process.Continue(ctx); err != nil {
		return fmt.Errorf("launch: %w", err)
	}
	limit := bootTimeout
	if i.warm {
		limit = restoreTimeout
	}
	seed := make([]byte, seedBytes)
	if _, err := io.ReadFull(i.host.entropy, seed); err != nil {
		return fmt.Errorf("launch: draw a seed: %w", err)
	}
	err := i.within(ctx, limit, "its agent did not answer", func(ctx context.Context) (err error) {
		i.ready, err = i.control.Resume(ctx, control.Resume{
			Seed:     seed,
			Time:     i.host.Now().UnixNano(),
			CABundle: i.host.ServicesRootPEM(),
			Identity: control.Identity{
				InstanceID:       i.ID(),
				Hostname:         i.ID(),
				Region:           i.host.Region(),
				AvailabilityZone: i.host.Region() + "a",
				InstanceType:     i.cfg.Type,
			},
		})
		return err
	})
	i.answered = time.Since(i.began)
	return err
}

// seedBytes is what a guest's random number generator gets, beyond its 256 bits.
const seedBytes = 64

// awaitCards waits until the guest's drivers have found what was plugged.
func (i *Instance) awaitCards(ctx context.Context) error {
	return i.within(ctx, cardsTimeout, "its drivers did not find the Nitro cards", func(ctx context.Context) error {
		_, err := i.control.Devices(ctx, expectedDevices...)
		return err
	})
}

// within runs one step of a launch that needs the guest. When it fails the error
// says whose fault that is: the guest has until limit, scaled, and may panic or
// end meanwhile.
func (i *Instance) within(ctx context.Context, limit time.Duration, what string, step func(context.Context) error) error {
	limit = i.host.Timeout(limit)
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m := i.machine
	go func() {
		select {
		case <-m.process.Done():
		case <-m.broken:
		case <-m.process.Console().Panicked():
		case <-limited.Done():
		}
		cancel()
	}()
	err := step(limited)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("launch: %w", ctx.Err())
	}
	select {
	case <-m.broken:
		return m.failure()
	default:
	}
	select {
	case <-m.process.Done():
	case <-time.After(i.host.Timeout(time.Second)): // a panic is followed by a reset
	}
	title := fmt.Sprintf("the instance did not come up within %s: %s", seconds(limit), what)
	if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		title += ": " + err.Error()
	}
	return m.blame(title)
}

// boot starts the machine with its kernel, paused.
func (i *Instance) boot(ctx context.Context) error {
	devices, err := i.bootDevices()
	if err != nil {
		return err
	}
	return i.startQEMU(ctx, devices...)
}

// startQEMU starts the machine, paused, with the channels to its init, and the
// devices that say how it begins.
func (i *Instance) startQEMU(ctx context.Context, begin ...qemu.Device) error {
	tools := i.host.cfg.Tools.QEMU
	ram, err := i.ram.Dup()
	if err != nil {
		return fmt.Errorf("launch: %w", err)
	}
	ports, err := i.openPorts()
	if err != nil {
		_ = ram.Close()
		return err
	}
	i.machine.process, err = qemu.Start(ctx, qemu.Config{
		Binary:  tools.Argv,
		Env:     tools.Env,
		Devices: slices.Concat(i.shape(ram), begin, ports),
		Accel:   i.host.cfg.Accel,
		Name:    i.ID(),
		Dir:     i.dir,
		Remove:  i.cfg.Remove,
		Paused:  true,
		Log:     i.log,
	})
	return err
}

// keepArtifacts copies an instance that failed with err to where its user looks.
func (i *Instance) keepArtifacts(err error) {
	var boot *qemu.BootError
	var infra *qemu.InfraError
	if !errors.As(err, &boot) && !errors.As(err, &infra) {
		return
	}
	dir := keepFolder(i.host.cfg.ArtifactsDir, i.ID(), i.dir, i.log)
	rebase(err, i.dir, dir)
}
