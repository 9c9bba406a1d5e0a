package attestation

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRejectTime: A12, A13, A14 and A18.
func TestRejectTime(t *testing.T) {
	at := func(d time.Duration) func(*Options) {
		return func(o *Options) { o.Time = t0.Truncate(time.Second).Add(d) }
	}
	ends := func(d time.Duration) func(*template) {
		return func(tmpl *template) { tmpl.notAfter = t0.Truncate(time.Second).Add(d) }
	}
	stamped := func(ms uint64) func(*forgery) {
		return func(f *forgery) { f.set("timestamp", uint64Item(ms)) }
	}
	seconds := uint64(t0.Unix())
	testRejections(t, []rejection{
		{
			name: "A12 archived document", demand: at(4 * time.Hour),
			want: []string{CheckValidity}, is: ErrExpired, says: `leaf certificate "i-0a1b2c3d4e5f60718-enc0199abcdef012345.us-east-1.aws" expired at 2026-11-23T12:51:41Z, 1h0m0s before`,
		},
		{
			name: "A12 document of last week", demand: at(7 * 24 * time.Hour),
			want: []string{CheckValidity}, is: ErrExpired, says: "; zonal certificate",
		},
		{
			name: "A13 clock five seconds slow", demand: at(-5 * time.Second),
			want: []string{CheckValidity}, is: ErrNotYetValid, says: "2s after the time of verification 2026-11-23T09:51:36Z: is the clock slow?",
		},
		{
			name: "A13 device clock three days ahead", demand: at(72 * time.Hour),
			want: []string{CheckValidity}, is: ErrExpired, says: "69h0m0s before the time of verification",
		},
		{
			name: "A14 instance certificate expired", forge: func(f *forgery) { f.instance = f.reissue(f.instance, ends(0)) },
			want: []string{CheckValidity}, is: ErrExpired, says: "instance certificate",
		},
		{
			name: "A14 zonal certificate expired", forge: func(f *forgery) { f.zonal = f.reissue(f.zonal, ends(0)) },
			want: []string{CheckValidity}, is: ErrExpired, says: "zonal certificate",
		},
		{
			name: "A14 regional certificate expired", forge: func(f *forgery) { f.regional = f.reissue(f.regional, ends(0)) },
			want: []string{CheckValidity}, is: ErrExpired, says: "regional certificate",
		},
		{
			name:   "A14 root expired",
			forge:  func(f *forgery) { f.root = f.reissue(f.root, ends(0)) },
			demand: nil, // the expired root is pinned below
			want:   []string{CheckChain, CheckValidity}, is: ErrExpired, says: "not pinned: it has the name of a pinned root",
		},
		{
			name: "A14 regional certificate of the future",
			forge: func(f *forgery) {
				f.regional = f.reissue(f.regional, func(tmpl *template) { tmpl.notBefore = t0.Add(time.Hour) })
			},
			want: []string{CheckValidity}, is: ErrNotYetValid, says: "regional certificate",
		},
		{name: "A18 seconds", forge: stamped(seconds), want: []string{CheckTimestamp}, is: ErrTimestamp, says: "seconds instead of milliseconds?"},
		{name: "A18 zero", forge: stamped(0), want: []string{CheckTimestamp}, is: ErrTimestamp, says: "0 ms is not between"},
		{name: "A18 largest number", forge: stamped(1<<64 - 1), want: []string{CheckTimestamp}, is: ErrTimestamp, says: "is not between"},
		{name: "A18 far future", forge: stamped((seconds + 1e9) * 1000), want: []string{CheckTimestamp}, is: ErrTimestamp, says: "is not within the leaf's validity"},
		{name: "A18 before the leaf", forge: stamped((seconds - 4) * 1000), want: []string{CheckTimestamp}, is: ErrTimestamp, says: "is not within the leaf's validity"},
		{
			name: "A18 a later moment of the leaf's life", forge: stamped((seconds + 3600) * 1000),
			want: []string{CheckTimestamp}, is: ErrTimestamp, says: "59m59s after the time of verification",
		},
		{
			name: "A18 far future, replayed at its own time", forge: stamped((seconds + 1e9) * 1000),
			demand: func(o *Options) { o.Time, o.AtDocumentTime = time.Time{}, true },
			want:   []string{CheckValidity, CheckTimestamp}, is: ErrExpired,
		},
		{name: "A18 negative", forge: func(f *forgery) { f.set("timestamp", []byte{0x20}) }, want: []string{CheckFormat}, is: ErrFormat, says: "timestamp is a negative integer"},
		{name: "A18 text", forge: func(f *forgery) { f.set("timestamp", tstr("1")) }, want: []string{CheckFormat}, is: ErrFormat, says: "timestamp is a text string"},
		{name: "A18 float", forge: func(f *forgery) { f.set("timestamp", []byte{0xfa, 0x47, 0xc3, 0x50, 0x00}) }, want: []string{CheckFormat}, is: ErrFormat, says: "timestamp is a simple value or float"},
		{name: "A18 bignum", forge: func(f *forgery) { f.set("timestamp", []byte{0xc2, 0x41, 0x01}) }, want: []string{CheckFormat}, is: ErrFormat, says: "tag"},
	})
}

// TestExpiredRoot: a pinned root is not exempt from the clock.
func TestExpiredRoot(t *testing.T) {
	f := newForgery(t)
	f.root = f.reissue(f.root, func(tmpl *template) { tmpl.notAfter = t0.Truncate(time.Second) })
	r, err := Verify(f.bytes(), policy(f.root.cert))
	if diff := cmp.Diff([]string{CheckValidity}, failures(r)); diff != "" || !errors.Is(err, ErrExpired) {
		t.Errorf("error %v, failed checks (-want +got):\n%s", err, diff)
	}
}

// TestValidityError: which certificate, and by how much.
func TestValidityError(t *testing.T) {
	f := newForgery(t)
	for _, tt := range []struct {
		at   time.Duration // since issue
		is   error
		not  error
		by   time.Duration
		cert string
	}{
		{-3*time.Second - time.Millisecond, ErrNotYetValid, ErrExpired, time.Millisecond, "leaf certificate"},
		{3*time.Hour + 90*time.Second, ErrExpired, ErrNotYetValid, 90 * time.Second, "leaf certificate"},
	} {
		opts := policy(f.root.cert)
		opts.Time = t0.Truncate(time.Second).Add(tt.at)
		_, err := Verify(f.bytes(), opts)
		var v *ValidityError
		if !errors.As(err, &v) {
			t.Fatalf("%v: error %v, want a ValidityError", tt.at, err)
		}
		if v.By() != tt.by || !strings.HasPrefix(v.Certificate, tt.cert) || !errors.Is(err, tt.is) || errors.Is(err, tt.not) {
			t.Errorf("%v: %s by %v (%v), want %s by %v", tt.at, v.Certificate, v.By(), err, tt.cert, tt.by)
		}
	}
}
