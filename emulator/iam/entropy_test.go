package iam

import (
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The same entropy and the same calls give the same credentials.
func TestDeterministic(t *testing.T) {
	var all [2][]Credentials
	for i := range all {
		d, _ := newDirectory(t)
		role := mustARN(t)(d.CreateRole(accountA, "r"))
		all[i] = append(all[i], mustKey(t)(d.CreateAccessKey(RootARN(accountA))), mustKey(t)(d.AssumeRole(role, "s1", time.Hour)))
	}
	if diff := cmp.Diff(all[0], all[1]); diff != "" {
		t.Errorf("(-first +second)\n%s", diff)
	}
}

// zeros is an entropy source that repeats itself.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestEntropyFails(t *testing.T) {
	failure := errors.New("no entropy")
	for name, tt := range map[string]struct {
		source io.Reader
		want   error
	}{
		"error": {iotest.ErrReader(failure), failure},
		"short": {strings.NewReader("x"), io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			d := NewDirectory(accountA, nil, tt.source)
			if _, err := d.CreateUser(accountA, "u"); !errors.Is(err, tt.want) {
				t.Errorf("user: %v", err)
			}
			if _, err := d.CreateAccessKey(RootARN(accountA)); err == nil || len(d.keys) != 0 {
				t.Errorf("key: %v", err)
			}
			if len(d.Principals()) != 0 {
				t.Error("a user was made")
			}
		})
	}
	t.Run("enough for the id alone", func(t *testing.T) {
		d := NewDirectory(accountA, nil, io.LimitReader(rand.NewChaCha8([32]byte{}), 16))
		if _, err := d.CreateAccessKey(RootARN(accountA)); !errors.Is(err, io.EOF) || len(d.keys) != 0 {
			t.Errorf("%d keys, %v", len(d.keys), err)
		}
	})
	t.Run("zeros", func(t *testing.T) {
		d := NewDirectory(accountA, nil, zeros{})
		first := mustKey(t)(d.CreateAccessKey(RootARN(accountA)))
		if _, err := d.CreateAccessKey(RootARN(accountA)); err == nil || !strings.Contains(err.Error(), "repeats itself") {
			t.Errorf("the same key again: %v", err)
		}
		if who, ok := d.Lookup(first.AccessKeyID); !ok || who.Secret != first.SecretAccessKey {
			t.Error("the first key has changed")
		}
	})
}
