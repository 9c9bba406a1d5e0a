package enclaveproc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/guest/enclaves"
	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/guest/nitrocli/wire"
)

// errEnded says that an enclave ended by itself.
var errEnded = errors.New("the enclave ended before it reported that it had booted")

// An enclave is one that is started, and what it holds. Once launch has returned
// only close changes it, and only vm, memory and image.
type enclave struct {
	args wire.RunArgs
	name string
	id   string
	cid  uint64
	cpus []uint32
	size uint64 // bytes of memory

	image     *os.File
	imageSize int64
	vm        enclaves.VM
	memory    *enclaves.Memory
	ended     *waiter
}

// A waiter waits for the end of a VM on a goroutine of its own.
type waiter struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the wait is over
	err    error         // set before done is closed; nil is the end of the enclave
}

func waitFor(vm enclaves.VM) *waiter {
	ctx, cancel := context.WithCancel(context.Background())
	w := &waiter{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.err = vm.Wait(ctx)
	}()
	return w
}

// stop gives up waiting.
func (w *waiter) stop() {
	w.cancel()
	<-w.done
}

// launch starts an enclave and returns once it has booted. Steps are in the
// order of nitro-cli's, so that what is wrong in several ways fails alike. say
// takes lines for the user; its failure is one of the launch.
func launch(ctx context.Context, c *Config, args wire.RunArgs, say func(string) error) (_ *enclave, err error) {
	e := &enclave{args: args}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	if e.image, e.imageSize, err = openImage(args.EIFPath); err != nil {
		return nil, err
	}
	pool, err := c.readPool()
	if err != nil {
		return nil, err
	}
	cpus, err := chooseCPUs(&args, pool)
	if err != nil {
		return nil, failure.During("Failed to get CPU configuration", err)
	}
	if args.EnclaveName == nil {
		return nil, failure.New(failure.FileOperationFailure, "the enclave has no name")
	}
	e.name = *args.EnclaveName
	if err := checkMemory(args.MemoryMiB, e.imageSize); err != nil {
		return nil, err
	}
	if err := e.createVM(c.System); err != nil {
		return nil, failure.During("Failed to create enclave handle", err)
	}
	if e.id, err = c.enclaveID(e.vm.SlotUID()); err != nil {
		return nil, err
	}
	if err := checkSignature(e.image, e.imageSize, c.Now()); err != nil {
		return nil, err
	}
	if err := e.giveMemory(c.System, say); err != nil {
		return nil, failure.During("Memory initialization issue", err)
	}
	if err := e.giveCPUs(cpus); err != nil {
		return nil, failure.During("vCPUs initialization issue", err)
	}
	if err := e.boot(ctx, c, say); err != nil {
		return nil, failure.During("Failed to boot enclave", err)
	}
	return e, nil
}

// createVM takes a slot.
func (e *enclave) createVM(sys enclaves.System) (err error) {
	device, err := sys.OpenDevice()
	if err != nil {
		return failure.Wrap(failure.FileOperationFailure, err, enclaves.DevicePath, "Open")
	}
	vm, err := device.CreateVM()
	if err != nil {
		return errors.Join(failure.Wrap(failure.IoctlFailure, err), device.Close())
	}
	e.vm = vm
	return failure.Wrap(failure.FileOperationFailure, device.Close(), enclaves.DevicePath, "Close")
}

// giveMemory takes huge pages, writes the image into them and gives them to the
// enclave.
func (e *enclave) giveMemory(sys enclaves.System, say func(string) error) (err error) {
	if err := say("Start allocating memory..."); err != nil {
		return err
	}
	requested := e.args.MemoryMiB
	if requested >= 1<<43 { // would not fit into 63 bits of bytes
		return failure.Wrap(failure.InsufficientMemoryAvailable, fmt.Errorf("no machine has %d MiB", requested), "memory", fmt.Sprint(requested))
	}
	if e.memory, err = enclaves.Allocate(sys, requested<<20); err != nil {
		var few *enclaves.InsufficientMemoryError
		if errors.As(err, &few) {
			return failure.Wrap(failure.InsufficientMemoryAvailable, err, "memory", fmt.Sprint(requested))
		}
		return failure.Wrap(failure.EnclaveMunmapError, err)
	}
	e.size = e.memory.Size()
	offset, err := e.vm.ImageLoadInfo(enclaves.EIFImage)
	if err != nil {
		return failure.Wrap(failure.IoctlFailure, err)
	}
	err = e.memory.WriteImage(e.image, e.imageSize, offset)
	switch {
	case errors.Is(err, enclaves.ErrImageTooLarge) && e.size < enclaves.MinMemory:
		// Too little for any enclave: nitro-cli leaves it to the driver to say so.
	case errors.Is(err, enclaves.ErrImageTooLarge):
		return failure.Wrap(failure.MemoryOverflow, err)
	case err != nil:
		return failure.Wrap(failure.EIFParsingError, err)
	}
	return failure.Wrap(failure.IoctlFailure, e.memory.Donate(e.vm))
}

// giveCPUs gives CPUs to the enclave, 0 for any.
func (e *enclave) giveCPUs(ids []uint32) error {
	e.cpus = make([]uint32, 0, len(ids))
	for _, id := range ids {
		got, err := e.vm.AddVCPU(id)
		if err != nil {
			return failure.Wrap(failure.IoctlFailure, err)
		}
		e.cpus = append(e.cpus, got)
	}
	return nil
}

// boot starts the enclave and waits for its heartbeat.
func (e *enclave) boot(ctx context.Context, c *Config, say func(string) error) (err error) {
	// Before the start: an enclave that finds nobody gives up at once.
	l, err := c.Listen(parentCID, ports.Heartbeat)
	if err != nil {
		return failure.Wrap(failure.EnclaveBootFailure, fmt.Errorf("listen for the heartbeat on vsock %d:%d: %w", parentCID, ports.Heartbeat, err))
	}
	defer func() { err = errors.Join(err, failure.Wrap(failure.SocketCloseError, l.Close())) }()

	start := enclaves.StartInfo{}
	if e.args.DebugMode {
		start.Flags |= enclaves.DebugMode
	}
	if e.args.EnclaveCID != nil {
		start.CID = *e.args.EnclaveCID
	}
	if start, err = e.vm.Start(start); err != nil {
		return failure.Wrap(failure.IoctlFailure, err)
	}
	e.cid = start.CID
	e.ended = waitFor(e.vm)
	err = say(fmt.Sprintf("Started enclave with enclave-cid: %d, memory: %d MiB, cpu-ids: %s", e.cid, e.size>>20, debugList(e.cpus)))
	if err != nil {
		return err
	}

	timeout := bootTimeout(uint64(e.imageSize), e.size)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%w, which was %v", errNoHeartbeat, timeout))
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	// nitro-cli goes on to wait for the whole time if the enclave is gone.
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		select {
		case <-e.ended.done:
			end(errors.Join(errEnded, e.ended.err))
		case <-ctx.Done():
		}
	}()
	err = awaitHeartbeat(ctx, l, e.cid)
	end(nil)
	<-watching
	return err
}

// close ends the enclave and gives everything back. A second call does nothing.
func (e *enclave) close() error {
	var errs []error
	if e.ended != nil {
		e.ended.stop()
	}
	if e.vm != nil {
		errs = append(errs, failure.Wrap(failure.FileOperationFailure, e.vm.Close(), enclaves.DevicePath, "Close"))
		e.vm = nil
	}
	if e.memory != nil {
		errs = append(errs, failure.Wrap(failure.EnclaveMunmapError, e.memory.Close()))
		e.memory = nil
	}
	if e.image != nil {
		errs = append(errs, e.image.Close())
		e.image = nil
	}
	return errors.Join(errs...)
}

// debugList is a list as nitro-cli prints it: [1, 3].
func debugList(ids []uint32) string {
	return strings.ReplaceAll(fmt.Sprint(ids), " ", ", ")
}
