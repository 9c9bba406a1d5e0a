package iam

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// Sessions that ended are forgotten, after an hour in which they are known; users'
// keys are not.
func TestForget(t *testing.T) {
	d, c := newDirectory(t)
	role := mustARN(t)(d.CreateRole(accountA, "r"))
	key := mustKey(t)(d.CreateAccessKey(RootARN(accountA)))
	old := mustKey(t)(d.AssumeRole(role, "old", MinSession))
	c.now = c.now.Add(MinSession + remembered - 1)
	for i := range leastSweep + 1 {
		mustKey(t)(d.AssumeRole(role, fmt.Sprint("s", i), MinSession))
	}
	if who, ok := d.Lookup(old.AccessKeyID); !ok || !who.Expired(c.now) {
		t.Error("a session is forgotten within the hour")
	}
	most := 0
	for i := range 5000 {
		c.now = c.now.Add(time.Minute)
		mustKey(t)(d.AssumeRole(role, fmt.Sprint("s", i), MinSession))
		most = max(most, len(d.keys))
	}
	// 76 are known at a time, and as many again before it looks.
	if most > 310 {
		t.Errorf("it held %d keys", most)
	}
	if _, ok := d.Lookup(old.AccessKeyID); ok {
		t.Error("a session is never forgotten")
	}
	if _, ok := d.Lookup(key.AccessKeyID); !ok {
		t.Error("the key of root is forgotten")
	}
	n := 0
	for _, k := range d.keys {
		if !k.expires.IsZero() {
			n++
		}
	}
	if n != d.sessions {
		t.Errorf("%d sessions, counted as %d", n, d.sessions)
	}
}

// When there is no room, ended sessions go at once; when all are alive, it says so.
func TestMaxSessions(t *testing.T) {
	d, c := newDirectory(t)
	role := mustARN(t)(d.CreateRole(accountA, "r"))
	short := mustKey(t)(d.AssumeRole(role, "short", MinSession))
	for range MaxSessions - 1 {
		mustKey(t)(d.AssumeRole(role, "long", time.Hour))
	}
	if _, err := d.AssumeRole(role, "more", time.Hour); !errors.Is(err, ErrLimit) {
		t.Fatalf("one too many: %v", err)
	}
	c.now = c.now.Add(MinSession)
	mustKey(t)(d.AssumeRole(role, "more", time.Hour))
	if _, ok := d.Lookup(short.AccessKeyID); ok {
		t.Error("the ended session is still there")
	}
	if _, err := d.AssumeRole(role, "more", time.Hour); !errors.Is(err, ErrLimit) {
		t.Errorf("one too many again: %v", err)
	}
	if err := d.Delete(role); err != nil || d.sessions != 0 || len(d.keys) != 0 {
		t.Errorf("after the role: %d sessions, %d keys, %v", d.sessions, len(d.keys), err)
	}
}
