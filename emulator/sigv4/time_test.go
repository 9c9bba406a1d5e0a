package sigv4

import (
	"strings"
	"testing"
	"time"
)

func TestVerifyClock(t *testing.T) {
	tests := []struct {
		name string
		skew time.Duration
		off  time.Duration // of the client
		want string        // in the message, "" if accepted
	}{
		{"same", 0, 0, ""},
		{"late by the skew", 0, -5 * time.Minute, ""},
		{"late by a second more", 0, -5*time.Minute - time.Second, "Signature expired: 20260301T115459Z is now earlier than 20260301T115500Z (20260301T120000Z - 5 min.)"},
		{"early by the skew", 0, 5 * time.Minute, ""},
		{"early by a second more", 0, 5*time.Minute + time.Second, "Signature not yet current: 20260301T120501Z is still later than 20260301T120500Z (20260301T120000Z + 5 min.)"},
		{"late by hours", 0, -11 * time.Hour, "Signature expired"},
		{"late by days", 0, -72 * time.Hour, "Signature expired"},
		{"early by years", 0, 20_000 * time.Hour, "Signature not yet current"},
		{"late for a smaller skew", 90 * time.Second, -2 * time.Minute, "- 1.5 min.)"},
		{"early for a smaller skew", 90 * time.Second, 2 * time.Minute, "+ 1.5 min.)"},
		{"late for a greater skew", 15 * time.Minute, -14 * time.Minute, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.verifier.Skew = tt.skew
			r, s := request(), w.signer(w.user)
			s.at = w.now.Add(tt.off)
			s.sign(r, testBody)
			if tt.want == "" {
				checkVerify(t, w, r, testBody, "")
				return
			}
			if err := checkVerify(t, w, r, testBody, InvalidSignature); err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want %q in it", err, tt.want)
			}
			s.credentials.SecretAccessKey = "x"
			s.sign(r, testBody)
			if err := checkVerify(t, w, r, testBody, InvalidSignature); err != nil && !strings.Contains(err.Error(), "does not match") {
				t.Errorf("whoever cannot sign learns of the clock: %q", err)
			}
		})
	}
}

// A zone of the clock makes no difference, and at midnight the scope is that of the
// signature.
func TestVerifyZone(t *testing.T) {
	w := newWorld(t)
	w.now = time.Date(2026, 3, 2, 0, 1, 0, 0, time.UTC).In(time.FixedZone("", -11*3600))
	r, s := request(), w.signer(w.user)
	s.at = w.now.Add(-2 * time.Minute)
	s.sign(r, testBody)
	checkVerify(t, w, r, testBody, "")
}

func TestVerifySession(t *testing.T) {
	tests := []struct {
		name  string
		after time.Duration
		code  string
	}{
		{"at once", 0, ""},
		{"a moment before its end", time.Hour - time.Nanosecond, ""},
		{"at its end", time.Hour, ExpiredToken},
		{"later", 90 * time.Minute, ExpiredToken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.now = w.now.Add(tt.after)
			r := request()
			w.signer(w.session).sign(r, testBody)
			checkVerify(t, w, r, testBody, tt.code)
		})
	}
	t.Run("dropped", func(t *testing.T) {
		w := newWorld(t)
		if err := w.directory.DeleteAccessKey(w.session.AccessKeyID); err != nil {
			t.Fatal(err)
		}
		r := request()
		w.signer(w.session).sign(r, testBody)
		checkVerify(t, w, r, testBody, Unrecognized)
	})
	t.Run("expired, with another token", func(t *testing.T) {
		w := newWorld(t)
		w.now = w.now.Add(time.Hour)
		r, s := request(), w.signer(w.session)
		s.credentials.SessionToken = "x"
		s.sign(r, testBody)
		checkVerify(t, w, r, testBody, Unrecognized)
	})
}

// Without Now it is the clock of the machine.
func TestVerifyNow(t *testing.T) {
	w := newWorld(t)
	w.verifier.Now = nil
	r, s := request(), w.signer(w.user)
	s.at = time.Now()
	s.sign(r, testBody)
	checkVerify(t, w, r, testBody, "")
}
