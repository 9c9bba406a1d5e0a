package channel

import (
	"context"
	"net"
	"sync"
	"testing"
)

// BenchmarkHandshake makes sessions, documents and their verification included.
func BenchmarkHandshake(b *testing.B) {
	l := newLab(b, 1)
	s := newServer(b, l.source(b, goodPCR), nil)
	b.ReportAllocs()
	for b.Loop() {
		near, far := net.Pipe()
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := s.Handshake(context.Background(), far); err != nil {
				b.Error(err)
			}
		})
		if _, err := Client(context.Background(), near, Config{Options: l.options}); err != nil {
			b.Fatal(err)
		}
		group.Wait()
		near.Close()
	}
}

// BenchmarkFrames sends frames of the largest size over loopback.
func BenchmarkFrames(b *testing.B) {
	client, server := sessions(b)
	frame := make([]byte, MaxFrame)
	var group sync.WaitGroup
	group.Go(func() {
		for {
			if _, err := server.Receive(context.Background()); err != nil {
				return
			}
		}
	})
	b.SetBytes(MaxFrame)
	b.ReportAllocs()
	for b.Loop() {
		if err := client.Send(context.Background(), frame); err != nil {
			b.Fatal(err)
		}
	}
	client.Close()
	group.Wait()
}
