package harness_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// A recorder is a testing.TB for tests that are to fail: what is said and done
// to it ends here and not in the test t that looks at it.
type recorder struct {
	testing.TB // TempDir and the like are t's own
	name       string
	ctx        context.Context

	mu       sync.Mutex
	failed   bool     // guarded by mu
	log      []string // guarded by mu
	cleanups []func() // guarded by mu
}

// record runs a test named name until its end, clean-up included.
func record(t *testing.T, name string, test func(t testing.TB)) *recorder {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &recorder{TB: t, name: name, ctx: ctx}
	r.run(func() { test(r) })
	cancel()
	for {
		r.mu.Lock()
		n := len(r.cleanups)
		if n == 0 {
			r.mu.Unlock()
			return r
		}
		last := r.cleanups[n-1]
		r.cleanups = r.cleanups[:n-1]
		r.mu.Unlock()
		r.run(last)
	}
}

// run lets f end its goroutine, as FailNow does.
func (r *recorder) run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

func (r *recorder) Helper()                  {}
func (r *recorder) Name() string             { return r.name }
func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Fail() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

func (r *recorder) FailNow() {
	r.Fail()
	runtime.Goexit()
}

func (r *recorder) Log(args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprint(args...))
}

func (r *recorder) Logf(format string, args ...any)   { r.Log(fmt.Sprintf(format, args...)) }
func (r *recorder) Error(args ...any)                 { r.Log(args...); r.Fail() }
func (r *recorder) Errorf(format string, args ...any) { r.Logf(format, args...); r.Fail() }
func (r *recorder) Fatal(args ...any)                 { r.Log(args...); r.FailNow() }
func (r *recorder) Fatalf(format string, args ...any) { r.Logf(format, args...); r.FailNow() }

// text is everything that was logged.
func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.log, "\n")
}

// mustFail checks that the recorded test failed and said all of these.
func (r *recorder) mustFail(t *testing.T, says ...string) {
	t.Helper()
	if !r.Failed() {
		t.Errorf("the test passed, log:\n%s", r.text())
	}
	r.mustSay(t, says...)
}

func (r *recorder) mustPass(t *testing.T, says ...string) {
	t.Helper()
	if r.Failed() {
		t.Errorf("the test failed, log:\n%s", r.text())
	}
	r.mustSay(t, says...)
}

func (r *recorder) mustSay(t *testing.T, says ...string) {
	t.Helper()
	for _, s := range says {
		if !strings.Contains(r.text(), s) {
			t.Errorf("log lacks %q:\n%s", s, r.text())
		}
	}
}
