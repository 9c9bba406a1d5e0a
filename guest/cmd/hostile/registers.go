package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// attacked is what was done to a device.
type attacked struct {
	Device string
	Writes int64
	Reads  int64

	sink uint64 // keeps the compiler from leaving reads out
}

// nitroEnclaves is the id of the Nitro Enclaves device in sysfs.
const nitroEnclavesVendor, nitroEnclavesDevice = "0x1d0f", "0xe4c1"

// attackRegisters takes the device from its driver and writes what comes to mind
// to its BARs and its configuration space for a while.
func attackRegisters(how time.Duration, seed uint64) (attacked, error) {
	var a attacked
	dir, err := findDevice("/sys/bus/pci/devices", nitroEnclavesVendor, nitroEnclavesDevice)
	if err != nil {
		return a, err
	}
	a.Device = filepath.Base(dir)
	if err := os.WriteFile(filepath.Join(dir, "driver/unbind"), []byte(a.Device), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return a, err
	}
	if err := os.WriteFile(filepath.Join(dir, "enable"), []byte("1"), 0); err != nil {
		return a, err
	}
	config, err := os.OpenFile(filepath.Join(dir, "config"), os.O_RDWR, 0)
	if err != nil {
		return a, err
	}
	defer config.Close()
	var bars [][]byte
	for _, n := range []int{0, 3} {
		bar, err := mapBAR(filepath.Join(dir, fmt.Sprintf("resource%d", n)))
		if err != nil {
			return a, err
		}
		defer unix.Munmap(bar)
		bars = append(bars, bar)
	}
	r := rand.New(rand.NewPCG(seed, 0))
	for end := time.Now().Add(how); time.Now().Before(end); {
		for range 1000 {
			a.access(r, bars)
		}
		if err := a.configure(r, config); err != nil {
			return a, err
		}
	}
	return a, nil
}

// access touches one register, more often than not one that means something.
func (a *attacked) access(r *rand.Rand, bars [][]byte) {
	bar := bars[r.IntN(len(bars))]
	width := 1 << r.IntN(4)
	at := r.IntN(len(bar)/width) * width
	if r.IntN(2) == 0 {
		at = []int{0, 4, 8, 12, 0x10, 0x18, 0x20, 0x28, 0x100, 0x800}[r.IntN(10)] // commands and their data
		at -= at % width
	}
	if r.IntN(50) == 0 {
		a.Reads++
		a.sink ^= load(bar[at:], width)
		return
	}
	a.Writes++
	v := r.Uint64()
	if r.IntN(2) == 0 {
		v %= 16 // the number of a command, a state, a flag
	}
	store(bar[at:], width, v)
}

// configure writes to the configuration space, but for what would only take the
// device from the attacker: the BARs, and memory decoding.
func (a *attacked) configure(r *rand.Rand, config *os.File) error {
	at := int64(0x40 + r.IntN(0x1000-0x40)&^3)
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], r.Uint32())
	a.Writes++
	_, err := config.WriteAt(b[:], at)
	if err != nil {
		return err
	}
	// A power state or a reset may have ended memory decoding.
	if _, err := config.WriteAt([]byte{0x06, 0x00}, 4); err != nil {
		return err
	}
	return nil
}

func load(p []byte, width int) uint64 {
	switch width {
	case 1:
		return uint64(p[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(p))
	case 4:
		return uint64(binary.LittleEndian.Uint32(p))
	}
	return binary.LittleEndian.Uint64(p)
}

func store(p []byte, width int, v uint64) {
	switch width {
	case 1:
		p[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(p, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(p, uint32(v))
	default:
		binary.LittleEndian.PutUint64(p, v)
	}
}

// mapBAR maps a whole BAR.
func mapBAR(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_SYNC, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap %s: %w", path, err)
	}
	return b, nil
}

// findDevice finds a PCI function by its ids.
func findDevice(base, vendor, device string) (string, error) {
	dirs, err := filepath.Glob(filepath.Join(base, "*"))
	if err != nil {
		return "", err
	}
	for _, dir := range dirs {
		if readID(dir, "vendor") == vendor && readID(dir, "device") == device {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no PCI function %s:%s", vendor, device)
}

func readID(dir, name string) string {
	b, _ := os.ReadFile(filepath.Join(dir, name))
	return strings.TrimSpace(string(b))
}
