package emulator

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A snapshot is an instance that has booted and waits to be told who it is. It
// holds no card: QEMU refuses to save vhost-user devices and loses the state of
// vfio-user ones.
type snapshot struct {
	snapshotInfo
	dir  string
	lock *os.File // shared: nobody removes it while it is used
}

// snapshotInfo is what is written beside the state.
type snapshotInfo struct {
	// TSCKHz is on the kernel's command line of a TCG guest: on a machine with
	// another clock the snapshot is stale. 0 under KVM.
	TSCKHz int

	// Template is the identity with which it booted, and Marks are the places in
	// its RAM where that lies.
	Template machineIdentity
	Marks    []mark

	// Size and Sum are of the state file. Sum guards against damage, not against
	// enemies: the cache is the user's own.
	Size int64
	Sum  uint32
}

const (
	snapshotStateName = "state"
	snapshotInfoName  = "info.json"
)

func (s *snapshot) statePath() string { return filepath.Join(s.dir, snapshotStateName) }

// close lets others remove the snapshot.
func (s *snapshot) close() { _ = s.lock.Close() }

// errStale says that a snapshot cannot be used and is to be made again.
var errStale = errors.New("the snapshot is damaged or stale")

// readSnapshot opens the snapshot in dir. fs.ErrNotExist says that there is none.
func readSnapshot(dir string) (*snapshot, error) {
	lock, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	s := &snapshot{dir: dir, lock: lock}
	if err := s.read(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *snapshot) read() error {
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%w: it is being removed", errStale)
	}
	text, err := os.ReadFile(filepath.Join(s.dir, snapshotInfoName))
	if err != nil {
		return fmt.Errorf("%w: %w", errStale, err)
	}
	if err := json.Unmarshal(text, &s.snapshotInfo); err != nil {
		return fmt.Errorf("%w: %w", errStale, err)
	}
	st, err := os.Stat(s.statePath())
	if err != nil {
		return fmt.Errorf("%w: %w", errStale, err)
	}
	if st.Size() != s.Size {
		return fmt.Errorf("%w: its state has %d bytes, want %d", errStale, st.Size(), s.Size)
	}
	return nil
}

// verify reads the whole state. That takes 20 ms for 100 MB, beside QEMU, which
// reads it too.
func (s *snapshot) verify(ctx context.Context) error {
	f, err := os.Open(s.statePath())
	if err != nil {
		return fmt.Errorf("%w: %w", errStale, err)
	}
	defer f.Close()
	sum, err := sparseSum(ctx, f)
	switch {
	case err != nil:
		return err
	case sum != s.Sum:
		return fmt.Errorf("%w: its state has the checksum %#08x, want %#08x", errStale, sum, s.Sum)
	}
	return nil
}

// writeInfo completes the snapshot in dir, which holds its state already.
func (info snapshotInfo) write(ctx context.Context, dir string) error {
	f, err := os.Open(filepath.Join(dir, snapshotStateName))
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	info.Size = st.Size()
	if info.Sum, err = sparseSum(ctx, f); err != nil {
		return err
	}
	text, err := json.Marshal(info)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, snapshotInfoName), text, 0o600)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const sumBlock = 4 << 10

var zeroBlock [sumBlock]byte

// sparseSum is a CRC-32C over the blocks of a file that are not all zeros, and
// over where they lie. So it does not depend on which of the others the file
// system keeps as holes.
func sparseSum(ctx context.Context, f *os.File) (uint32, error) {
	var sum uint32
	buf := make([]byte, 256*sumBlock)
	for at := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		start, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return sum, nil
		}
		if err != nil {
			return 0, os.NewSyscallError("lseek", err)
		}
		at = start &^ (sumBlock - 1)
		n, err := f.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if n == 0 {
			return sum, nil
		}
		sum = sumBlocks(sum, at, buf[:n])
		at += int64(n)
	}
}

// sumBlocks adds the blocks of p, which lie at offset at of the file.
func sumBlocks(sum uint32, at int64, p []byte) uint32 {
	var head [8]byte
	for ; len(p) > 0; at += sumBlock {
		block := p[:min(sumBlock, len(p))]
		p = p[len(block):]
		if bytes.Equal(block, zeroBlock[:len(block)]) {
			continue
		}
		binary.LittleEndian.PutUint64(head[:], uint64(at))
		sum = crc32.Update(crc32.Update(sum, castagnoli, head[:]), castagnoli, block)
	}
	return sum
}
