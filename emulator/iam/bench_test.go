package iam

import (
	"testing"
	"time"
)

func BenchmarkLookup(b *testing.B) {
	d, _ := newDirectory(b)
	role := mustARN(b)(d.CreateRole(accountA, "r"))
	var c Credentials
	for range 1000 {
		c = mustKey(b)(d.AssumeRole(role, "i-0a1b2c3d4e5f60718", time.Hour))
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, ok := d.Lookup(c.AccessKeyID); !ok {
				b.Error("not found")
				return
			}
		}
	})
}

// Sessions of a quarter of an hour, one a second: most calls drop none.
func BenchmarkAssumeRole(b *testing.B) {
	d, c := newDirectory(b)
	role := mustARN(b)(d.CreateRole(accountA, "r"))
	b.ReportAllocs()
	for b.Loop() {
		c.now = c.now.Add(time.Second)
		if _, err := d.AssumeRole(role, "i-0a1b2c3d4e5f60718", MinSession); err != nil {
			b.Fatal(err)
		}
	}
}
