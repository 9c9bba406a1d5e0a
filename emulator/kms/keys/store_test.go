package keys

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

func TestStoreKeepsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	clock := &fakeClock{now: t0}
	r, _ := openTestRing(t, path, clock)
	var want []*Key
	for _, s := range specs {
		want = append(want, got(r.Create(Description{Spec: s.spec, Usage: s.usage, Description: "d", Policy: "{}", Tags: map[string]string{"a": "b"}}))(t))
	}
	k := want[0]
	must(t, r.CreateAlias("alias/a", k.ID))
	must(t, r.CreateAlias("alias/gone", k.ID))
	must(t, r.DeleteAlias("alias/gone"))
	old := got(r.Encrypt(k.ID, "", []byte("old"), nil))(t)
	must(t, r.SetRotation(k.ID, true, 100))
	want[0] = got(r.Rotate(k.ID))(t)
	want[1] = got(r.ScheduleDeletion(want[1].ID, 7))(t)
	must(t, r.SetEnabled(want[2].ID, false))
	want[2] = got(r.Get(want[2].ID))(t)
	alias := got(r.Alias("alias/a"))(t)
	signer, mac, agree := want[3], want[9], want[6]
	signature := got(r.Sign(signer.ID, ECDSASHA256, Raw, []byte("m")))(t)
	tag := got(r.GenerateMAC(mac.ID, HMACSHA224, []byte("m")))(t)
	public := got(r.PublicKey(agree.ID))(t)
	must(t, r.Close())

	r, _ = openTestRing(t, path, clock)
	for _, k := range want {
		if diff := cmp.Diff(k, got(r.Get(k.ID))(t)); diff != "" {
			t.Errorf("%s %s: %s", k.Spec, k.Usage, diff)
		}
	}
	if diff := cmp.Diff(alias, got(r.Alias("alias/a"))(t)); diff != "" {
		t.Error(diff)
	}
	wantErr(t, ignore(r.Alias("alias/gone")), ErrNotFound)
	if p := got(r.Decrypt(k.ID, "", old.Blob, nil))(t); string(p.Plaintext) != "old" {
		t.Errorf("decrypted %q", []byte(p.Plaintext))
	}
	must(t, r.Verify(signer.ID, ECDSASHA256, Raw, []byte("m"), signature))
	must(t, r.VerifyMAC(mac.ID, HMACSHA224, []byte("m"), tag))
	if !bytes.Equal(public, got(r.PublicKey(agree.ID))(t)) {
		t.Error("the public key changed")
	}

	// Time passes while nobody looks.
	must(t, r.Close())
	clock.Add(100 * 24 * time.Hour)
	r, _ = openTestRing(t, path, clock)
	wantErr(t, ignore(r.Get(want[1].ID)), ErrNotFound)
	if n := len(got(r.Get(k.ID))(t).Materials); n != 3 {
		t.Errorf("%d materials, want 3", n)
	}
	must(t, r.Close())
	clock.Add(-100 * 24 * time.Hour)
	r, _ = openTestRing(t, path, clock)
	wantErr(t, ignore(r.Get(want[1].ID)), ErrNotFound)
}

func TestStoreOfAnotherAccount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	r, _ := openTestRing(t, path, &fakeClock{now: t0})
	must(t, r.Close())
	for _, c := range []Config{
		{Region: "eu-west-1", Account: testAccount, Path: path},
		{Region: testRegion, Account: "444455556666", Path: path},
	} {
		_, err := New(c)
		if err == nil || !strings.Contains(err.Error(), "the keys are of account 111122223333 in us-east-1") {
			t.Errorf("error %v", err)
		}
	}
}

func TestStoreIsOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	openTestRing(t, path, &fakeClock{now: t0})
	start := time.Now()
	_, err := New(Config{Region: testRegion, Account: testAccount, Path: path})
	if !errors.Is(err, ErrInUse) {
		t.Errorf("error %v, want ErrInUse", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestStoreIsPrivate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.db")
	r, _ := openTestRing(t, path, &fakeClock{now: t0})
	must(t, r.Close())
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	must(t, os.Chmod(path, 0o640))
	_, err = New(Config{Region: testRegion, Account: testAccount, Path: path})
	if err == nil || !strings.Contains(err.Error(), "mode is 0640; allowed is 0600") {
		t.Errorf("error %v", err)
	}
	must(t, os.Chmod(path, 0o600))
	must(t, os.Symlink(path, filepath.Join(dir, "link")))
	if _, err = New(Config{Region: testRegion, Account: testAccount, Path: filepath.Join(dir, "link")}); err == nil {
		t.Error("a symbolic link was followed")
	}
	pipe := filepath.Join(dir, "pipe")
	must(t, unix.Mkfifo(pipe, 0o600))
	if _, err = New(Config{Region: testRegion, Account: testAccount, Path: pipe}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("pipe: error %v", err)
	}
}

// A closed ring does nothing more, with a file or without.
func TestClosed(t *testing.T) {
	for name, path := range map[string]string{"memory": "", "file": filepath.Join(t.TempDir(), "keys.db")} {
		t.Run(name, func(t *testing.T) {
			r, _ := openTestRing(t, path, &fakeClock{now: t0})
			k := create(t, r, Symmetric, "")
			must(t, r.Close())
			must(t, r.Close())
			_, _, listErr := r.List(0, "")
			for what, err := range map[string]error{
				"get":     ignore(r.Get(k.ID)),
				"list":    listErr,
				"create":  ignore(r.Create(Description{})),
				"encrypt": ignore(r.Encrypt(k.ID, "", []byte("p"), nil)),
				"rotate":  ignore(r.Rotate(k.ID)),
				"alias":   r.CreateAlias("alias/a", k.ID),
				"disable": r.SetEnabled(k.ID, false),
			} {
				if !errors.Is(err, ErrInternal) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// A change that the file did not take is not there.
func TestStoreFails(t *testing.T) {
	r, _ := openTestRing(t, filepath.Join(t.TempDir(), "keys.db"), &fakeClock{now: t0})
	k := create(t, r, Symmetric, "")
	must(t, r.store.db.Close()) // bbolt refuses what comes now
	made, err := r.Create(Description{})
	wantErr(t, err, ErrInternal)
	if made != nil {
		t.Errorf("key %s in spite of the error", made.ID)
	}
	wantErr(t, r.SetEnabled(k.ID, false), ErrInternal)
	wantErr(t, r.CreateAlias("alias/a", k.ID), ErrInternal)
	if n := len(got2(r.List(0, "")).page); n != 1 {
		t.Errorf("%d keys", n)
	}
	if now := got(r.Get(k.ID))(t); now.State != Enabled || len(r.Aliases(k.ID)) != 0 {
		t.Errorf("state %s, aliases %v", now.State, r.Aliases(k.ID))
	}
}

// What is no text is refused before it makes a file that cannot be read again.
func TestStoreTakesOnlyText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	clock := &fakeClock{now: t0}
	r, _ := openTestRing(t, path, clock)
	k := create(t, r, Symmetric, "")
	const bad = "a\xffb"
	for name, test := range map[string]struct {
		err  error
		want error
	}{
		"description":     {ignore(r.Create(Description{Description: bad})), ErrValidation},
		"policy":          {ignore(r.Create(Description{Policy: bad})), ErrValidation},
		"tag key":         {ignore(r.Create(Description{Tags: map[string]string{bad: ""}})), ErrTag},
		"tag value":       {ignore(r.Create(Description{Tags: map[string]string{"a": bad}})), ErrTag},
		"new description": {r.SetDescription(k.ID, bad), ErrValidation},
		"new policy":      {r.SetPolicy(k.ID, bad), ErrValidation},
		"new tag":         {r.Tag(k.ID, map[string]string{bad: ""}), ErrTag},
	} {
		if !errors.Is(test.err, test.want) || !strings.Contains(test.err.Error(), "not UTF-8") {
			t.Errorf("%s: error %v, want %v", name, test.err, test.want)
		}
	}
	must(t, r.Close())
	r, _ = openTestRing(t, path, clock)
	if diff := cmp.Diff(k, got(r.Get(k.ID))(t)); diff != "" {
		t.Error(diff)
	}
}

// Files that are no key rings, or were damaged, are errors.
func TestStoreDamaged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.db")
	r, _ := openTestRing(t, path, &fakeClock{now: t0})
	k := create(t, r, Symmetric, "")
	must(t, r.CreateAlias("alias/a", k.ID))
	must(t, r.Close())
	good, err := os.ReadFile(path)
	must(t, err)

	edit := func(f func(tx *bbolt.Tx) error) []byte {
		must(t, os.WriteFile(path, good, 0o600))
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
		must(t, err)
		must(t, db.Update(f))
		must(t, db.Close())
		b, err := os.ReadFile(path)
		must(t, err)
		return b
	}
	put := func(bucket, key, value string) []byte {
		return edit(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucket)).Put([]byte(key), []byte(value)) })
	}
	other := filepath.Join(dir, "other.db")
	db, err := bbolt.Open(other, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bbolt.Tx) error { return ignore(tx.CreateBucket([]byte("other"))) }))
	must(t, db.Close())
	foreign, err := os.ReadFile(other)
	must(t, err)

	for name, b := range map[string][]byte{
		"text":             bytes.Repeat([]byte("no key ring\n"), 10000),
		"other program's":  foreign,
		"format":           put("meta", "format", "nitrolab key ring 2"),
		"record":           put("keys", k.ID, "\xff"),
		"id":               put("keys", "x", "\xa0"),
		"alias name":       put("aliases", "a", "\xa0"),
		"alias of no key":  put("aliases", "alias/b", string(got(encodeAlias(&Alias{KeyID: noSuchKey}))(t))),
		"no alias bucket":  edit(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("aliases")) }),
		"truncated":        good[:len(good)/2+1],
		"truncated header": good[:100],
	} {
		t.Run(name, func(t *testing.T) {
			must(t, os.WriteFile(path, b, 0o600))
			_, err := New(Config{Region: testRegion, Account: testAccount, Path: path})
			if err == nil {
				t.Fatal("opened")
			}
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("error %v, want ErrDamaged", err)
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("error %v does not name the file", err)
			}
			// And the file is free again.
			must(t, os.WriteFile(path, good, 0o600))
			r, err := New(Config{Region: testRegion, Account: testAccount, Path: path})
			must(t, err)
			must(t, r.Close())
		})
	}
}

// bbolt panicking is an error, the last one of this ring, and others can have the file.
func TestStorePanics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	r, err := New(Config{Region: testRegion, Account: testAccount, Path: path})
	must(t, err)
	err = r.store.guard(func() error { return r.store.db.Update(func(*bbolt.Tx) error { panic("page 7 is no page") }) })
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "page 7") {
		t.Errorf("error %v", err)
	}
	wantErr(t, ignore(r.Create(Description{})), ErrDamaged)
	must(t, r.Close())
	openTestRing(t, path, &fakeClock{now: t0})
}

// childVariable tells the test binary to be the process that gets killed.
const childVariable = "NITROLAB_TEST_KEY_RING"

// writeUntilKilled makes keys and aliases, and says of each when it is made.
func writeUntilKilled(path string) error {
	r, err := New(Config{Region: testRegion, Account: testAccount, Path: path})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		k, err := r.Create(Description{})
		if err != nil {
			return err
		}
		name := fmt.Sprint("alias/", i)
		if err := r.CreateAlias(name, k.ID); err != nil {
			return err
		}
		c, err := r.Encrypt(k.ID, "", []byte(name), nil)
		if err != nil {
			return err
		}
		fmt.Printf("%s %x\n", name, c.Blob)
	}
}

func TestMain(m *testing.M) {
	if path := os.Getenv(childVariable); path != "" {
		fmt.Println(writeUntilKilled(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// What an operation returned from is in the file, however the process ends.
func TestStoreSurvivesKill(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	path := filepath.Join(t.TempDir(), "keys.db")
	for round := range 3 {
		child := exec.CommandContext(t.Context(), self)
		child.Env = append(os.Environ(), childVariable+"="+path+fmt.Sprint(round))
		child.Stderr = os.Stderr
		stdout := got(child.StdoutPipe())(t)
		must(t, child.Start())
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, 1<<20)
		var seen []string
		for len(seen) < 20+7*round && lines.Scan() {
			seen = append(seen, lines.Text())
		}
		must(t, child.Process.Kill())
		for lines.Scan() { // what was said before the end counts too
			seen = append(seen, lines.Text())
		}
		_, _ = io.Copy(io.Discard, stdout)
		_ = child.Wait() // killed

		r, _ := openTestRing(t, path+fmt.Sprint(round), &fakeClock{now: t0})
		for _, line := range seen {
			var name string
			var blob []byte
			if n, _ := fmt.Sscanf(line, "%s %x", &name, &blob); n != 2 {
				t.Fatalf("child said %q", line)
			}
			k := got(r.Get(name))(t)
			if p := got(r.Decrypt(k.ID, "", blob, nil))(t); string(p.Plaintext) != name {
				t.Errorf("%s: decrypted %q", name, []byte(p.Plaintext))
			}
		}
		must(t, r.Close())
	}
}
