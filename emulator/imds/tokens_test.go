package imds

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
)

func newTestTokens(t testing.TB, seed byte, c *clock) tokens {
	t.Helper()
	tk, err := newTokens(bytes.NewReader(bytes.Repeat([]byte{seed}, 32)), c.Now)
	if err != nil {
		t.Fatal(err)
	}
	return tk
}

func TestTokenLife(t *testing.T) {
	c := &clock{now: launched}
	tk := newTestTokens(t, 1, c)
	one, two := tk.issue(time.Minute), tk.issue(time.Minute)
	if one == two {
		t.Error("two tokens are one")
	}
	if len(one) != 56 || !strings.HasPrefix(one, "AQAAA") {
		t.Errorf("token %q is not of the form of AWS's", one)
	}
	for _, step := range []struct {
		after time.Duration
		left  time.Duration
	}{
		{0, time.Minute},
		{59 * time.Second, time.Second},
		{time.Second - time.Millisecond, time.Millisecond},
		{time.Millisecond, 0},
		{time.Hour, 0},
	} {
		c.advance(step.after)
		// A token has whole milliseconds.
		if got := tk.left(one); (got-step.left).Abs() > time.Millisecond || step.left == 0 && got != 0 {
			t.Errorf("at %v: %v left, want %v", c.Now(), got, step.left)
		}
	}
}

// Nothing that differs from a token in any way is one.
func TestTokenForgery(t *testing.T) {
	c := &clock{now: launched}
	tk := newTestTokens(t, 1, c)
	good := tk.issue(time.Hour)
	if tk.left(good) <= 0 {
		t.Fatal("the token is refused")
	}
	for i := range good {
		for _, r := range []byte{'A', 'B', '_', '=', '\n', '+'} {
			bad := good[:i] + string(r) + good[i+1:]
			if bad != good && tk.left(bad) != 0 {
				t.Errorf("%q is taken for %q", bad, good)
			}
		}
	}
	// The last digit has four bits that no byte has.
	for _, r := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		if bad := good[:53] + string(r) + good[54:]; bad != good && tk.left(bad) != 0 {
			t.Errorf("%q is taken for %q", bad, good)
		}
	}
	for _, bad := range []string{"", good[:55], good + "=", " " + good, good + "\n", strings.Repeat("A", 56), strings.Repeat("=", 56)} {
		if tk.left(bad) != 0 {
			t.Errorf("%q is taken for a token", bad)
		}
	}
	if newTestTokens(t, 2, c).left(good) != 0 {
		t.Error("a token of one instance is taken by another")
	}
}

func TestParseTTL(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1": time.Second, "21600": 6 * time.Hour, "60": time.Minute, "0060": time.Minute,
		"0": 0, "21601": 0, "-1": 0, "+1": 0, "": 0, " 1": 0, "1 ": 0, "1.5": 0, "0x10": 0, "1_000": 0, "one": 0, "65536": 0, "99999999999999999999": 0, "１": 0,
	} {
		got, ok := parseTTL(text)
		if got != want || ok != (want != 0) {
			t.Errorf("%q: %v, %t, want %v", text, got, ok, want)
		}
	}
}

func FuzzToken(f *testing.F) {
	c := &clock{now: launched}
	tk := newTestTokens(f, 1, c)
	good := tk.issue(time.Hour)
	f.Add(good)
	f.Add(good[:55] + "A")
	f.Add("")
	f.Add(strings.Repeat("_", 56))
	other := newTestTokens(f, 2, c)
	f.Fuzz(func(t *testing.T, text string) {
		if left := tk.left(text); left != 0 && text != good || left > time.Hour {
			t.Errorf("%q has %v left", text, left)
		}
		if other.left(text) != 0 {
			t.Errorf("%q is taken by another instance", text)
		}
	})
}

// A life never overflows, whatever the clock shows.
func TestTokenFarTimes(t *testing.T) {
	for _, now := range []time.Time{time.Unix(0, 0), time.Unix(1<<40, 0), time.UnixMilli(math.MaxInt64 / 2)} {
		tk := newTestTokens(t, 1, &clock{now: now})
		if left := tk.left(tk.issue(time.Hour)); (left - time.Hour).Abs() > time.Millisecond {
			t.Errorf("at %v: %v left", now, left)
		}
	}
}
