package keys

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Users, administrators and time at once, for the race detector: whoever uses a key
// sees it work, or disabled, but never anything between.
func TestConcurrentUse(t *testing.T) {
	for name, path := range map[string]string{"memory": "", "file": filepath.Join(t.TempDir(), "keys.db")} {
		t.Run(name, func(t *testing.T) {
			clock := &fakeClock{now: t0}
			r, err := New(Config{Region: testRegion, Account: testAccount, Clock: clock.Now, Entropy: &stream{}, Path: path})
			must(t, err)
			k, doomed := create(t, r, Symmetric, ""), create(t, r, Symmetric, "")
			must(t, r.SetRotation(k.ID, true, 90))
			got(r.ScheduleDeletion(doomed.ID, 7))(t)
			var wg sync.WaitGroup
			for g := range 4 {
				wg.Go(func() {
					for i := range 100 {
						plaintext := fmt.Appendf(nil, "%d %d", g, i)
						c, err := r.Encrypt(k.ID, "", plaintext, nil)
						if errors.Is(err, ErrDisabled) {
							continue
						}
						if err != nil {
							t.Error(err)
							return
						}
						p, err := r.Decrypt(k.ID, "", c.Blob, nil)
						if err != nil && !errors.Is(err, ErrDisabled) || err == nil && !bytes.Equal(p.Plaintext, plaintext) {
							t.Error(err, []byte(p.Plaintext))
						}
						if _, err := r.Get("alias/moving"); err != nil && !errors.Is(err, ErrNotFound) {
							t.Error(err)
						}
						if _, _, err := r.ListAliases("", 0, ""); err != nil {
							t.Error(err)
						}
						if _, _, err := r.List(1, ""); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Go(func() {
				for i := range 20 {
					must(t, r.SetEnabled(k.ID, i%2 == 1))
					clock.Add(20 * 24 * time.Hour)
					must(t, r.Tag(k.ID, map[string]string{"i": fmt.Sprint(i)}))
				}
			})
			wg.Go(func() {
				for i := range 10 {
					other, err := r.Create(Description{})
					must(t, err)
					if i == 0 {
						err = r.CreateAlias("alias/moving", other.ID)
					} else {
						err = r.UpdateAlias("alias/moving", other.ID)
					}
					must(t, err)
				}
			})
			wg.Wait()
			if _, err := r.Get(doomed.ID); !errors.Is(err, ErrNotFound) {
				t.Errorf("deleted key: %v", err)
			}
			if n := len(got(r.Get(k.ID))(t).Materials); n < 2 {
				t.Errorf("%d materials after 400 days", n)
			}
			must(t, r.Close())
		})
	}
}
