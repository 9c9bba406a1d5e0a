package emulator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nitrolab/nitrolab/emulator/qemu"
)

// StartEnclave checks and measures the image and starts it. It returns when the
// machine runs; [Enclave.WaitRunning] waits for the heartbeat. ctx bounds the
// start only. What is wrong with the request or the image is an error before
// anything runs.
func (h *Host) StartEnclave(ctx context.Context, cfg EnclaveConfig) (*Enclave, error) {
	slot, err := newSlotUID(h.Now(), h.entropy)
	if err != nil {
		return nil, err
	}
	return h.start(ctx, h.own, slot, cfg)
}

// start is StartEnclave for any parent. slot is the number behind the enclave's id.
func (h *Host) start(ctx context.Context, p *parent, slot uint64, cfg EnclaveConfig) (_ *Enclave, err error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	im, err := openImage(ctx, cfg, h.Now())
	if err != nil {
		return nil, err
	}
	defer im.Close()
	e := &Enclave{
		host:    h,
		parent:  p,
		cfg:     cfg,
		state:   Starting,
		timeout: cfg.bootTimeout(im.Size()),
		running: make(chan struct{}),
		done:    make(chan struct{}),
	}
	if e.cid, err = p.reserve(cfg.CID); err != nil {
		return nil, err
	}
	defer p.starting.Done()
	defer func() {
		if err != nil {
			e.abandon(err)
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.closing, cancel)()
	e.info = im.describe(cfg, p.instanceID, slot, e.cid)
	e.log = h.log(e.info.EnclaveID)
	if e.dir, err = os.MkdirTemp(h.Dir(), "enclave-"); err != nil {
		return nil, fmt.Errorf("start enclave: %w", err)
	}
	if cfg.checked != nil {
		if err := cfg.checked(); err != nil {
			return nil, err
		}
	}
	if p.heart != nil {
		e.beat = p.heart.expect(e.cid)
	}
	e.began = time.Now()
	if e.machine, err = e.boot(ctx, im, slot); err != nil {
		switch { // not QEMU's fault, so nothing of it is kept
		case h.closing.Err() != nil:
			err = errClosed
		case ctx.Err() != nil:
			err = fmt.Errorf("start enclave: %w", ctx.Err())
		}
		return nil, err
	}
	if e.port, err = openConsolePort(e); err != nil {
		e.machine.close()
		return nil, fmt.Errorf("start enclave: %w", err)
	}
	if p.heart == nil { // what comes is between the enclave and its parent
		e.state = Running
	}
	p.started(e)
	go e.watch()
	return e, nil
}

// abandon undoes a start that failed. What QEMU left behind, if it was tried, is
// kept like that of an enclave which failed later.
func (e *Enclave) abandon(err error) {
	var infra *qemu.InfraError
	tried := errors.As(err, &infra)
	if tried {
		e.keepArtifacts(err)
	}
	keep := tried && e.host.cfg.KeepEnclaveDirs
	if !keep && e.dir != "" {
		_ = os.RemoveAll(e.dir)
	}
	if keep {
		e.host.keep(e.remains())
	}
	e.parent.forget(e.cid)
	e.parent.release(e.cid)
}

// RunEnclave is StartEnclave and WaitRunning. An enclave that does not come up
// is gone when it returns.
func (h *Host) RunEnclave(ctx context.Context, cfg EnclaveConfig) (*Enclave, error) {
	e, err := h.StartEnclave(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := e.WaitRunning(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}
