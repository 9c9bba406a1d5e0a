package iam

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestConcurrent(t *testing.T) {
	d := NewDirectory(accountA, nil, rand.NewChaCha8([32]byte{}))
	role := mustARN(t)(d.CreateRole(accountA, "r"))
	root := mustKey(t)(d.CreateAccessKey(RootARN(accountA)))
	p := parsePolicy(t, `{"Effect":"Allow","Action":"kms:*","Resource":"*"}`)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 50 {
				name := fmt.Sprintf("u%d-%d", i, j)
				user, err := d.CreateUser(accountA, name, p)
				if err != nil {
					t.Error(err)
				}
				for _, err := range []error{d.SetPolicies(user), d.SetPolicies(role, p), d.AddAccount(accountB), d.Delete(user)} {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
		wg.Go(func() {
			for range 50 {
				c, err := d.AssumeRole(role, "s1", time.Hour)
				if err != nil {
					t.Error(err)
				}
				if who, ok := d.Lookup(c.AccessKeyID); !ok || who.Token != c.SessionToken {
					t.Error("a session is not found")
				}
				if err := d.DeleteAccessKey(c.AccessKeyID); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 50 {
				if who, ok := d.Lookup(root.AccessKeyID); !ok || who.Type != TypeRoot {
					t.Error("root is not found")
				}
				d.Principals()
				d.Exists("arn:aws:sts::" + accountA + ":assumed-role/r/s1")
			}
		})
	}
	wg.Wait()
	if diff := cmp.Diff([]string{role}, d.Principals()); diff != "" || len(d.keys) != 1 || d.sessions != 0 || len(d.names) != 1 {
		t.Errorf("left: %d keys, %d sessions, %d names\n%s", len(d.keys), d.sessions, len(d.names), diff)
	}
}
