package enclavestest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/nitrolab/nitrolab/devices/enclaves"
	"github.com/nitrolab/nitrolab/devices/pci"
)

// A Driver does to a function what Linux's nitro_enclaves driver of 6.12 does:
// the same accesses in the same order, and the same mistakes. It also attaches
// the function, as its transport. Its methods may be called from any goroutine.
type Driver struct {
	// Timeout is how long it waits for a reply and for the device to go off: 120
	// s in Linux, which is the default. Set it before Probe.
	Timeout time.Duration

	f      *pci.Function
	access sync.Mutex // a transport makes one call at a time

	request sync.Mutex // pci_dev_mutex: one command at a time
	replied chan struct{}
	event   chan struct{} // like a work item, queued at most once
	stop    chan struct{}
	worker  sync.WaitGroup

	mu    sync.Mutex // also orders the event worker and the ioctls of all VMs
	ready bool       // what the interrupt handlers use is initialised
	vms   []*VM

	irq   sync.Mutex
	early int // interrupts before that
}

// Errors of a [Driver], beside the errno of failed commands.
var (
	ErrTimeout = errors.New("no reply from the device")     // Linux: ETIMEDOUT
	ErrProbe   = errors.New("device refused the handshake") // Linux: EIO
	ErrDisable = errors.New("device does not go off")       // Linux: a line in dmesg
	ErrGone    = errors.New("driver is gone")
)

// NewDriver returns a driver for f, which is not attached yet.
func NewDriver(f *pci.Function) *Driver {
	return &Driver{Timeout: 120 * time.Second, f: f, replied: make(chan struct{}, 1), event: make(chan struct{}, 1)}
}

// Configuration space.
const (
	regCommand = 0x04
	regCapPtr  = 0x34
	capMSIX    = 0x11
)

// Probe is ne_pci_probe.
func (d *Driver) Probe() error {
	if err := d.f.Attach((*bus)(d)); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	err := d.probe()
	if err != nil {
		d.f.Detach()
	}
	return err
}

func (d *Driver) probe() error {
	d.setConfig16(regCommand, d.config16(regCommand)|uint16(pci.CommandMemory))
	d.setConfig16(regCommand, d.config16(regCommand)|uint16(pci.CommandBusMaster))
	if err := d.enableMSIX(); err != nil {
		return err
	}
	// The handlers are installed from here on, and use what is initialised
	// only after the handshake.
	_ = d.disable() // logged only

	d.write(enclaves.RegVersion, []byte{1, 0})
	if v := d.read(enclaves.RegVersion, 2); binary.LittleEndian.Uint16(v) != 1 {
		return fmt.Errorf("probe: version %v: %w", v, ErrProbe)
	}
	d.write(enclaves.RegEnable, []byte{1})
	if v := d.read(enclaves.RegEnable, 1); v[0] != 1 {
		return fmt.Errorf("probe: enable %v: %w", v, ErrProbe)
	}
	d.irq.Lock()
	d.ready = true
	d.irq.Unlock()
	d.stop = make(chan struct{})
	d.worker.Add(1)
	go d.work()
	return nil
}

// enableMSIX is pci_alloc_irq_vectors: all of them, masked as a whole while the
// table is written.
func (d *Driver) enableMSIX() error {
	at := d.msix()
	if at == 0 {
		return errors.New("probe: no MSI-X")
	}
	control := d.config16(at + 2)
	vectors := int(control&0x7ff) + 1
	if vectors < enclaves.Vectors {
		return fmt.Errorf("probe: %d vectors", vectors)
	}
	d.setConfig16(at+2, control|0xc000)
	bir := int(d.config16(at+4) & 7)
	for v := range vectors {
		var entry [16]byte
		binary.LittleEndian.PutUint32(entry[:], 0xfee00000)
		binary.LittleEndian.PutUint32(entry[8:], uint32(0x30+v))
		d.access.Lock()
		err := d.f.WriteBAR(bir, uint64(16*v), entry[:])
		d.access.Unlock()
		if err != nil {
			return fmt.Errorf("probe: %w", err)
		}
	}
	d.setConfig16(at+2, control|0x8000)
	return nil
}

// msix is the offset of the MSI-X capability, 0 if there is none.
func (d *Driver) msix() int {
	at := int(d.config16(regCapPtr) & 0xff)
	for range 48 {
		if at == 0 || d.config16(at)&0xff == capMSIX {
			return at
		}
		at = int(d.config16(at) >> 8)
	}
	return 0
}

// disable is ne_pci_dev_disable.
func (d *Driver) disable() error {
	d.write(enclaves.RegEnable, []byte{0})
	for end := time.Now().Add(d.Timeout); ; {
		if d.read(enclaves.RegEnable, 1)[0] == 0 {
			return nil
		}
		if !time.Now().Before(end) {
			return ErrDisable
		}
		time.Sleep(min(10*time.Millisecond, d.Timeout))
	}
}

// Remove is ne_pci_remove. VMs that are not closed stay as they are, which Linux
// does not let happen: they hold the module.
func (d *Driver) Remove() error {
	err := d.disable()
	close(d.stop)
	d.worker.Wait()
	d.irq.Lock()
	d.ready = false
	d.irq.Unlock()
	at := d.msix()
	d.setConfig16(at+2, d.config16(at+2)&^0x8000)
	d.setConfig16(regCommand, d.config16(regCommand)&^uint16(pci.CommandBusMaster))
	d.f.Detach()
	return err
}

// Abandon is what a kernel that dies leaves: everything stays as it is, and
// nobody listens any more.
func (d *Driver) Abandon() {
	close(d.stop)
	d.f.Detach()
	d.worker.Wait()
}

// Early is how many interrupts came while the driver could not take any. In Linux
// each of them is a crash.
func (d *Driver) Early() int {
	d.irq.Lock()
	defer d.irq.Unlock()
	return d.early
}

// Do is ne_do_request. The error is ErrTimeout, ErrGone after Remove or Abandon, or
// the syscall.Errno that the device answered; the reply is valid for the last.
func (d *Driver) Do(c enclaves.Command, r enclaves.Request) (enclaves.Reply, error) {
	d.request.Lock()
	defer d.request.Unlock()
	select { // cmd_reply_avail = 0
	case <-d.replied:
	default:
	}
	d.write(enclaves.RegSend, r.AppendTo(nil))
	d.write(enclaves.RegCommand, binary.LittleEndian.AppendUint32(nil, uint32(c)))

	timeout := time.NewTimer(d.Timeout)
	defer timeout.Stop()
	select {
	case <-d.replied:
	case <-timeout.C:
		return enclaves.Reply{}, fmt.Errorf("%v: %w", c, ErrTimeout)
	case <-d.stop:
		return enclaves.Reply{}, fmt.Errorf("%v: %w", c, ErrGone)
	}
	reply, err := enclaves.ParseReply(d.read(enclaves.RegReceive, enclaves.ReplySize))
	if err != nil {
		return enclaves.Reply{}, err
	}
	if reply.RC < 0 {
		return reply, fmt.Errorf("%v: %w", c, syscall.Errno(-reply.RC))
	}
	return reply, nil
}
