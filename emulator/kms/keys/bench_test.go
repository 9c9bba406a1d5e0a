package keys

import (
	"bytes"
	"path/filepath"
	"testing"
)

var benchContext = map[string]string{"model": "llama", "purpose": "weights", "tenant": "a"}

func BenchmarkDecrypt(b *testing.B) {
	r, _ := newTestRing(b)
	k := create(b, r, Symmetric, "")
	c := got(r.Encrypt(k.ID, "", bytes.Repeat([]byte{1}, 32), benchContext))(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := r.Decrypt(k.ID, "", c.Blob, benchContext); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkGenerateDataKey(b *testing.B) {
	r, _ := newTestRing(b)
	k := create(b, r, Symmetric, "")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.GenerateDataKey(k.ID, 32, benchContext); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetByAlias(b *testing.B) {
	r, _ := newTestRing(b)
	k := create(b, r, Symmetric, "")
	must(b, r.CreateAlias("alias/a", k.ID))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Get("alias/a"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignECDSA(b *testing.B) {
	r, _ := newTestRing(b)
	k := create(b, r, ECCP256, SignVerify)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Sign(k.ID, ECDSASHA256, Raw, []byte("m")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreate(b *testing.B) {
	for name, path := range map[string]string{"memory": "", "file": filepath.Join(b.TempDir(), "keys.db")} {
		b.Run(name, func(b *testing.B) {
			r, _ := openTestRing(b, path, &fakeClock{now: t0})
			b.ReportAllocs()
			for b.Loop() {
				k, err := r.Create(Description{})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				r.publish(change{drop: []string{k.ID}}) // below the quota
				b.StartTimer()
			}
		})
	}
}
