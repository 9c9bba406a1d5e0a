package keys

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config says which ring [New] makes.
type Config struct {
	Region  string // such as us-east-1; required
	Account string // 12 digits; required

	// Clock; nil means time.Now.
	Clock func() time.Time

	// Entropy; nil means crypto/rand. Ids, symmetric and curve keys, nonces and
	// random bytes come out of it; it is read by one goroutine at a time. RSA keys,
	// RSA padding and ECDSA signatures are random beyond its reach: since Go 1.26
	// crypto/rsa and crypto/ecdsa ignore the source they are given.
	Entropy io.Reader

	// Path of the bbolt file; empty means memory. A missing file is made, its
	// directory is not.
	Path string
}

var (
	accountPattern = regexp.MustCompile(`^[0-9]{12}$`)
	regionPattern  = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)
)

// A Ring holds the keys of one account in one region.
//
// It is safe for concurrent use. Changes are made one after the other; nothing that
// computes with keys waits for them or for each other.
type Ring struct {
	region, account string
	prefix          string // of ARNs, up to and with the colon after the account
	clock           func() time.Time
	entropy         io.Reader // safe for concurrent use

	// write is held from the first look at what a change depends on until it is
	// stored and published.
	write  sync.Mutex
	store  *store // nil for a ring in memory; guarded by write
	closed bool   // guarded by write

	// mu guards what follows. It is never held during cryptography or disk writes.
	mu    sync.RWMutex
	keys  map[string]*entry
	ids   []string // keys of the map above, sorted
	alias map[string]*Alias
	names []string            // keys of the map above, sorted
	byKey map[string][]string // names of a key's aliases, sorted

	// due is when the passing of time next changes a key, in Unix milliseconds:
	// never later than that, possibly earlier.
	due atomic.Int64
}

// An entry is a key with its material. It is immutable.
type entry struct {
	key       *Key
	materials []*material // oldest first, the last is the current one
}

func (e *entry) current() *material { return e.materials[len(e.materials)-1] }

// New makes a Ring, or opens the one in the file at c.Path. An error says which
// field of c is wrong, or what is the matter with the file: it is [ErrInUse] if
// another process has it open.
func New(c Config) (*Ring, error) {
	switch {
	case !regionPattern.MatchString(c.Region):
		return nil, fmt.Errorf("open key ring: region is %q; allowed is the form us-east-1", clip(c.Region))
	case !accountPattern.MatchString(c.Account):
		return nil, fmt.Errorf("open key ring: account is %q; allowed are 12 digits", clip(c.Account))
	}
	r := &Ring{
		region:  c.Region,
		account: c.Account,
		prefix:  "arn:" + partition(c.Region) + ":kms:" + c.Region + ":" + c.Account + ":",
		clock:   c.Clock,
		entropy: rand.Reader,
		keys:    make(map[string]*entry),
		alias:   make(map[string]*Alias),
		byKey:   make(map[string][]string),
	}
	r.due.Store(never)
	if r.clock == nil {
		r.clock = time.Now
	}
	if c.Entropy != nil {
		r.entropy = &lockedReader{r: c.Entropy}
	}
	if c.Path == "" {
		return r, nil
	}
	s, held, err := openStore(c.Path, c.Region, c.Account)
	if err != nil {
		return nil, fmt.Errorf("open key ring: %w", err)
	}
	for _, e := range held.put {
		e.key.ARN, e.key.Account = r.keyARN(e.key.ID), r.account
	}
	for _, a := range held.name {
		a.ARN = r.prefix + a.Name
	}
	r.publish(held)
	r.store = s
	return r, nil
}

// partition of the ARNs of a region.
func partition(region string) string {
	for _, p := range []struct{ region, partition string }{
		{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"eusc-", "aws-eusc"},
		{"us-iso-", "aws-iso"}, {"us-isob-", "aws-iso-b"}, {"eu-isoe-", "aws-iso-e"}, {"us-isof-", "aws-iso-f"},
	} {
		if strings.HasPrefix(region, p.region) {
			return p.partition
		}
	}
	return "aws"
}

// Close closes the file. A change under way is finished first; what comes later
// fails. Closing again does nothing.
func (r *Ring) Close() error {
	r.write.Lock()
	defer r.write.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	r.due.Store(math.MinInt64) // whoever comes now meets the end in settle
	if r.store == nil {
		return nil
	}
	if err := r.store.close(); err != nil {
		return fmt.Errorf("close key ring: %w", err)
	}
	return nil
}

var errClosed = errors.New("the key ring is closed")

// entry finds a key by its id.
func (r *Ring) entry(id string) (*entry, error) {
	if err := r.settle(); err != nil {
		return nil, err
	}
	return r.look(id)
}

// look is entry without settling what is due.
func (r *Ring) look(id string) (*entry, error) {
	r.mu.RLock()
	e := r.keys[id]
	r.mu.RUnlock()
	if e == nil {
		return nil, r.noKey(id)
	}
	return e, nil
}

// A change is what one operation does to the ring: to its file and then to what
// readers see, each as a whole.
type change struct {
	put    []*entry
	drop   []string // ids of keys; the aliases that point to them go into unname
	name   []*Alias
	unname []string
}

// commit stores and publishes a change. Preconditions: write is held, the ring is
// not closed.
func (r *Ring) commit(c change) error {
	if r.store != nil {
		if err := r.store.commit(c); err != nil {
			return internal("store change of key ring", err)
		}
	}
	r.publish(c)
	return nil
}

// publish shows a change to readers.
func (r *Ring) publish(c change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range c.unname {
		r.unlink(name)
	}
	for _, id := range c.drop {
		delete(r.keys, id)
		r.ids = remove(r.ids, id)
	}
	for _, e := range c.put {
		r.keys[e.key.ID] = e
		r.ids = insert(r.ids, e.key.ID)
		if d := e.key.due(); !d.IsZero() && d.UnixMilli() < r.due.Load() {
			r.due.Store(d.UnixMilli())
		}
	}
	for _, a := range c.name {
		r.unlink(a.Name)
		r.alias[a.Name] = a
		r.names = insert(r.names, a.Name)
		r.byKey[a.KeyID] = insert(r.byKey[a.KeyID], a.Name)
	}
}

// unlink forgets an alias. Preconditions: mu is held.
func (r *Ring) unlink(name string) {
	old := r.alias[name]
	if old == nil {
		return
	}
	delete(r.alias, name)
	r.names = remove(r.names, name)
	if left := remove(r.byKey[old.KeyID], name); len(left) > 0 {
		r.byKey[old.KeyID] = left
	} else {
		delete(r.byKey, old.KeyID)
	}
}

func insert(sorted []string, s string) []string {
	if i, found := slices.BinarySearch(sorted, s); !found {
		return slices.Insert(sorted, i, s)
	}
	return sorted
}

func remove(sorted []string, s string) []string {
	if i, found := slices.BinarySearch(sorted, s); found {
		return slices.Delete(sorted, i, i+1)
	}
	return sorted
}

// read fills b from the ring's entropy.
func (r *Ring) read(b []byte) error {
	if _, err := io.ReadFull(r.entropy, b); err != nil {
		return internal("read entropy", err)
	}
	return nil
}

// now is the clock as the KMS API tells times: UTC, whole milliseconds.
func (r *Ring) now() time.Time { return r.clock().UTC().Truncate(time.Millisecond) }

// A lockedReader lets goroutines take turns.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

// Read implements io.Reader.
func (l *lockedReader) Read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return io.ReadFull(l.r, b)
}
