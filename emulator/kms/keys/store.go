package keys

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/emulator/kms/keys/internal/boltfile"
)

// ErrInUse is the error of [New] when another process, or another Ring of this one,
// has the file open.
var ErrInUse = errors.New("file is in use by another process")

// ErrDamaged is the error of [New] for a file that is no key ring, or no longer one.
var ErrDamaged = errors.New("file is damaged or is not a key ring")

// Buckets of the file. Keys and aliases are records of record.go under their id or
// name.
var (
	bucketMeta    = []byte("meta")
	bucketKeys    = []byte("keys")
	bucketAliases = []byte("aliases")

	metaFormat  = []byte("format")
	metaRegion  = []byte("region")
	metaAccount = []byte("account")
)

const storeFormat = "nitrolab key ring 1"

// lockWait is how long openStore waits for another process to close the file: long
// enough for one that is just ending.
const (
	lockWait = 500 * time.Millisecond
	lockPoll = 20 * time.Millisecond
)

// A store is the file of a ring. Every commit is one transaction of bbolt, so what it
// returned from survives the end of the process at any moment.
//
// It is for one goroutine at a time.
type store struct {
	db   *bbolt.DB
	file *os.File // of db

	// broken is why bbolt panicked. It may hold its own locks then and is not
	// called again, not even to close.
	broken error
}

// openStore opens or makes the file and reads all of it.
func openStore(path, region, account string) (*store, change, error) {
	s := &store{}
	options := &bbolt.Options{
		Timeout:      lockWait,
		FreelistType: bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := openPrivate(name, flag, mode)
			if err != nil {
				return nil, err
			}
			if err := lockAndCheck(f); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			s.file = f
			return f, nil
		},
	}
	var held change
	err := s.guard(func() (err error) {
		if s.db, err = bbolt.Open(path, 0o600, options); err != nil {
			return err
		}
		return s.load(region, account, &held)
	})
	if err == nil {
		return s, held, nil
	}
	_ = s.close()
	return nil, change{}, fmt.Errorf("%s: %w", path, err)
}

// openPrivate opens a file that nobody else may read.
func openPrivate(name string, flag int, mode os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(name, flag|unix.O_NOFOLLOW, mode)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("it is not a regular file")
	case info.Mode().Perm()&0o077 != 0:
		err = fmt.Errorf("mode is %04o; allowed is 0600, for it holds keys", info.Mode().Perm())
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// lockAndCheck takes the lock that bbolt takes once more, so that nobody changes the
// file after it is found sound.
func lockAndCheck(f *os.File) error {
	deadline := time.Now().Add(lockWait)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if time.Now().After(deadline) {
			return ErrInUse
		}
		time.Sleep(lockPoll) // flock(2) has no wait that ends by itself
	}
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	if err := boltfile.Check(f, info.Size()); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// guard turns into errors what bbolt does about a file that is damaged in spite of
// [boltfile.Check], or while it is open: it panics, or reads beyond the end of the
// mapping.
func (s *store) guard(f func() error) (err error) {
	if s.broken != nil {
		return s.broken
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			s.broken = fmt.Errorf("%w: %v", ErrDamaged, p)
			err = s.broken
		}
	}()
	return f()
}

// load reads the file into held; an empty file becomes a ring of that region and
// account.
func (s *store) load(region, account string, held *change) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return initialize(tx, region, account)
		}
		if got := string(meta.Get(metaFormat)); got != storeFormat {
			return fmt.Errorf("%w: format is %q; allowed is %q", ErrDamaged, clip(got), storeFormat)
		}
		if r, a := string(meta.Get(metaRegion)), string(meta.Get(metaAccount)); r != region || a != account {
			return fmt.Errorf("the keys are of account %s in %s; asked for is account %s in %s", clip(a), clip(r), account, region)
		}
		keys, aliases := tx.Bucket(bucketKeys), tx.Bucket(bucketAliases)
		if keys == nil || aliases == nil {
			return fmt.Errorf("%w: a bucket is missing", ErrDamaged)
		}
		if err := keys.ForEach(func(id, value []byte) error {
			e, err := decodeEntry(string(id), value)
			if err == nil && len(held.put) == MaxKeys {
				err = fmt.Errorf("there are more than %d", MaxKeys)
			}
			if err != nil {
				return fmt.Errorf("%w: key %q: %w", ErrDamaged, clip(string(id)), err)
			}
			held.put = append(held.put, e)
			return nil
		}); err != nil {
			return err
		}
		return aliases.ForEach(func(name, value []byte) error {
			a, err := decodeAlias(string(name), value)
			if err == nil && keys.Get([]byte(a.KeyID)) == nil {
				err = fmt.Errorf("there is no key %s", a.KeyID)
			}
			if err != nil {
				return fmt.Errorf("%w: alias %q: %w", ErrDamaged, clip(string(name)), err)
			}
			held.name = append(held.name, a)
			return nil
		})
	})
}

// initialize makes the buckets in a new file. A file with others is somebody else's.
func initialize(tx *bbolt.Tx, region, account string) error {
	if name, _ := tx.Cursor().First(); name != nil {
		return fmt.Errorf("%w: it has a bucket %q", ErrDamaged, clip(string(name)))
	}
	for _, name := range [][]byte{bucketKeys, bucketAliases} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	meta, err := tx.CreateBucket(bucketMeta)
	if err != nil {
		return err
	}
	return errors.Join(
		meta.Put(metaFormat, []byte(storeFormat)),
		meta.Put(metaRegion, []byte(region)),
		meta.Put(metaAccount, []byte(account)),
	)
}

// commit writes a change, all of it or nothing.
func (s *store) commit(c change) error {
	return s.guard(func() error { return s.db.Update(c.write) })
}

func (c change) write(tx *bbolt.Tx) error {
	keys, aliases := tx.Bucket(bucketKeys), tx.Bucket(bucketAliases)
	for _, name := range c.unname {
		if err := aliases.Delete([]byte(name)); err != nil {
			return err
		}
	}
	for _, id := range c.drop {
		if err := keys.Delete([]byte(id)); err != nil {
			return err
		}
	}
	for _, e := range c.put {
		value, err := encodeEntry(e)
		if err != nil {
			return err
		}
		if err := keys.Put([]byte(e.key.ID), value); err != nil {
			return err
		}
	}
	for _, a := range c.name {
		value, err := encodeAlias(a)
		if err != nil {
			return err
		}
		if err := aliases.Put([]byte(a.Name), value); err != nil {
			return err
		}
	}
	return nil
}

// close gives the file back to others.
func (s *store) close() error {
	switch {
	case s.broken != nil && s.file != nil:
		// The mapping that bbolt leaves behind would keep the lock.
		return errors.Join(unix.Flock(int(s.file.Fd()), unix.LOCK_UN), s.file.Close())
	case s.db != nil:
		return s.db.Close()
	}
	return nil // bbolt.Open failed and has closed the file
}
