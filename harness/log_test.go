package harness_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// What a Host says is in the log of its test, with the time since its start, and
// nothing comes after the test's end, when logging would panic.
func TestHostLog(t *testing.T) {
	var log *slog.Logger
	r := record(t, "TestFakeLog", func(tb testing.TB) {
		host := fakeHost(tb)
		log = host.Log()
		log.Debug("too much detail")
		log.With("enclave", "i-1").Warn("disk is slow", "err", errors.New("timeout"))
	})
	r.mustPass(t, "s] INFO host is up instance=i-", "accelerator=TCG", "s] WARN disk is slow enclave=i-1 err=timeout")
	if strings.Contains(r.text(), "too much detail") {
		t.Errorf("debug messages are logged:\n%s", r.text())
	}
	before := r.text()
	log.Error("late")
	if after := r.text(); after != before {
		t.Errorf("logged after the test: %q", strings.TrimPrefix(after, before))
	}
}

// A parent's port is taken once, and free when its test ended.
func TestListen(t *testing.T) {
	host := fakeHost(t)
	record(t, "TestFakeListen", func(tb testing.TB) {
		if addr := host.Listen(tb, 7000).Addr().String(); addr != "3:7000" {
			tb.Errorf("listens at %s, want 3:7000", addr)
		}
		record(t, "TestFakeListen", func(tb testing.TB) { host.Listen(tb, 7000) }).
			mustFail(t, "harness: listen on the parent's vsock port 7000: ", "address already in use")
	}).mustPass(t)
	host.Listen(t, 7000)
}
