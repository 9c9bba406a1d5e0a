package guestagent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestPutGet(t *testing.T) {
	dial, _ := serve(t)
	c := connect(t, dial())
	want := bytes.Repeat([]byte("0123456789abcdef"), 200<<10) // more than SSH's window
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			path := filepath.Join(t.TempDir(), "f")
			if err := c.Put(within(t), path, 0o640, bytes.NewReader(want)); err != nil {
				t.Error(err)
				return
			}
			if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			var got bytes.Buffer
			if err := c.Get(within(t), path, &got); err != nil {
				t.Error(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got %d bytes, want %d", got.Len(), len(want))
			}
		})
	}
	wg.Wait()
}

func TestFileErrors(t *testing.T) {
	dial, _ := serve(t)
	c := connect(t, dial())
	missing := filepath.Join(t.TempDir(), "no", "f")
	var refused *FileError
	err := c.Get(within(t), missing, io.Discard)
	if !errors.As(err, &refused) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "get "+missing+" from guest: open: no such file") {
		t.Errorf("get: %v", err)
	}
	err = c.Put(within(t), missing, 0o600, strings.NewReader(strings.Repeat("x", 8<<20)))
	if !errors.As(err, &refused) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("put: %v", err)
	}
	// The connection is as good as before.
	if _, err := c.Output(within(t), "true"); err != nil {
		t.Error(err)
	}
}

// A copy ends with its context and leaves nothing, also if the source never ends.
func TestPutCancelled(t *testing.T) {
	dial, _ := serve(t)
	c := connect(t, dial())
	dir := t.TempDir()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Put(ctx, filepath.Join(dir, "f"), 0o600, r) }()
	if _, err := w.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	case <-time.After(patience):
		t.Fatal("Put did not end")
	}
	w.Close() // lets the goroutine that reads end
	// The session is over when the agent is done with it.
	if _, err := c.Output(within(t), "true"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s was left", entries[0].Name())
		}
		time.Sleep(time.Millisecond)
	}
}

// A source that fails is the caller's error, not the connection's.
func TestPutSourceFails(t *testing.T) {
	dial, _ := serve(t)
	c := connect(t, dial())
	err := c.Put(within(t), filepath.Join(t.TempDir(), "f"), 0o600, failReader{io.ErrUnexpectedEOF})
	if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrLost) {
		t.Errorf("error %v", err)
	}
}

type failReader struct{ error }

func (f failReader) Read([]byte) (int, error) { return 0, f.error }

// An agent that goes away during a copy is ErrLost.
func TestCopyLost(t *testing.T) {
	dial, stop := serve(t)
	c := connect(t, dial())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- c.Put(within(t), filepath.Join(t.TempDir(), "f"), 0o600, r) }()
	if _, err := w.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-done; !errors.Is(err, ErrLost) {
		t.Errorf("error %v, want ErrLost", err)
	}
	w.Close()
	if err := c.Get(within(t), "/etc/hosts", io.Discard); !errors.Is(err, ErrLost) {
		t.Errorf("get after: %v, want ErrLost", err)
	}
}
