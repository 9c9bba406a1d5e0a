package emulator

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// DefaultRegion is the region of a Host that names none.
const DefaultRegion = "us-east-1"

// seedSize is what attestation.NewAuthority reads from its entropy source.
const seedSize = 48

// An Identity is what makes a Host the same Host again: PCR4 of its enclaves
// comes from InstanceID, and every certificate from Seed. It is a secret.
type Identity struct {
	InstanceID string
	Region     string
	// Seed of the attestation authority, 48 bytes.
	Seed []byte
}

// instanceIDPattern is the long form of EC2 instance ids: 17 hex digits.
var instanceIDPattern = regexp.MustCompile(`^i-[0-9a-f]{17}$`)

// regionPattern is loose on purpose: new regions need no new release.
var regionPattern = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)

// NewIdentity draws a new Host from entropy; nil means crypto/rand.
func NewIdentity(entropy io.Reader) (Identity, error) {
	if entropy == nil {
		entropy = rand.Reader
	}
	var b [9 + seedSize]byte
	if _, err := io.ReadFull(entropy, b[:]); err != nil {
		return Identity{}, fmt.Errorf("draw host identity: %w", err)
	}
	return Identity{
		InstanceID: "i-" + hex.EncodeToString(b[:9])[:17],
		Region:     DefaultRegion,
		Seed:       b[9:],
	}, nil
}

// LoadIdentity reads the Identity kept in the file at path, and makes the file
// with a new one if there is none. Two callers at once get the same one.
func LoadIdentity(path string) (Identity, error) {
	id, err := ReadIdentity(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if id, err = NewIdentity(nil); err != nil {
		return id, err
	}
	text, err := json.Marshal(id)
	if err != nil {
		return id, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return id, fmt.Errorf("keep host identity: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".host-*")
	if err != nil {
		return id, fmt.Errorf("keep host identity: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	// Sync: after a power failure the name must not stand for an empty file.
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return id, fmt.Errorf("keep host identity: %w", err)
	}
	// A link fails if someone else was first, and nobody sees half a file.
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return id, fmt.Errorf("keep host identity: %w", err)
	}
	return ReadIdentity(path)
}

// ReadIdentity is LoadIdentity for who will not make one: without the file the
// error is fs.ErrNotExist.
func ReadIdentity(path string) (Identity, error) {
	var id Identity
	text, err := os.ReadFile(path)
	if err != nil {
		return id, fmt.Errorf("read host identity: %w", err)
	}
	if err := json.Unmarshal(text, &id); err != nil {
		return id, fmt.Errorf("host identity %s: %w; remove the file to get a new host", path, err)
	}
	if err := id.check(); err != nil {
		return id, fmt.Errorf("host identity %s: %w; remove the file to get a new host", path, err)
	}
	return id, nil
}

func (id Identity) check() error {
	switch {
	case !instanceIDPattern.MatchString(id.InstanceID):
		return fmt.Errorf("instance id is %q; allowed is i- and 17 hex digits", id.InstanceID)
	case !regionPattern.MatchString(id.Region):
		return fmt.Errorf("region is %q; allowed is the form us-east-1", id.Region)
	case len(id.Seed) != seedSize:
		return fmt.Errorf("seed has %d bytes; allowed are %d", len(id.Seed), seedSize)
	}
	return nil
}

// newSlotUID makes the 64-bit number behind an enclave's id: 48 bits of Unix
// milliseconds, then 16 random bits. The structure fits every genuine document
// seen (enclave-abi.md section 3.2); hardware may compute it differently.
func newSlotUID(now time.Time, entropy io.Reader) (uint64, error) {
	var b [2]byte
	if _, err := io.ReadFull(entropy, b[:]); err != nil {
		return 0, fmt.Errorf("draw slot uid: %w", err)
	}
	ms := uint64(now.UnixMilli()) & (1<<48 - 1)
	return ms<<16 | uint64(binary.BigEndian.Uint16(b[:])), nil
}

// enclaveID is the id that nitro-cli prints: the slot uid unpadded, so one digit
// shorter in our century than the module id of the documents (nitro-cli
// src/enclave_proc/utils.rs).
func enclaveID(instanceID string, slotUID uint64) string {
	return fmt.Sprintf("%s-enc%x", instanceID, slotUID)
}
