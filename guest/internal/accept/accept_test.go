package accept

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitrolab/nitrolab/guest/internal/accept/accepttest"
)

// untilEnd holds its connection until its context ends, and counts.
func untilEnd(n *atomic.Int32) func(context.Context, net.Conn) {
	return func(ctx context.Context, _ net.Conn) {
		n.Add(1)
		defer n.Add(-1)
		<-ctx.Done()
	}
}

// However it ends, nothing is left.
func TestServeEnds(t *testing.T) {
	broken := errors.New("listener broke")
	tests := []struct {
		name string
		most int
		end  func(s *accepttest.Socket, cancel context.CancelFunc)
		want error
	}{
		{"told to, in Accept", 3, func(_ *accepttest.Socket, cancel context.CancelFunc) { cancel() }, nil},
		{"told to, with no slot free", 2, func(_ *accepttest.Socket, cancel context.CancelFunc) { cancel() }, nil},
		{"listener breaks", 3, func(s *accepttest.Socket, _ context.CancelFunc) { s.Fails <- broken }, broken},
		{"listener is closed", 3, func(s *accepttest.Socket, _ context.CancelFunc) { s.Close() }, net.ErrClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				s := accepttest.New()
				var running atomic.Int32
				ended := make(chan error, 1)
				go func() { ended <- Serve(ctx, s, tt.most, untilEnd(&running)) }()
				var ends [2]net.Conn
				for i := range ends {
					var theirs net.Conn
					ends[i], theirs = net.Pipe()
					s.Conns <- theirs
				}
				synctest.Wait()
				if n := running.Load(); n != 2 {
					t.Errorf("%d run", n)
				}
				tt.end(s, cancel)
				if err := <-ended; !errors.Is(err, tt.want) || tt.want == nil && err != nil {
					t.Errorf("Serve = %v, want %v", err, tt.want)
				}
				if n := running.Load(); n != 0 {
					t.Errorf("%d run behind the end", n)
				}
				for _, c := range ends {
					if _, err := c.Read(make([]byte, 1)); err != io.EOF {
						t.Errorf("a connection is open: %v", err)
					}
				}
				if _, err := s.Accept(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("the listener is open: %v", err)
				}
			})
		})
	}
}

// Not one more than most is taken, and the next as soon as one has gone.
func TestServeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := accepttest.New()
		ended := make(chan error, 1)
		go func() {
			ended <- Serve(ctx, s, 2, func(_ context.Context, c net.Conn) { io.Copy(io.Discard, c) })
		}()
		connect := func() (c net.Conn, err error) {
			ours, theirs := net.Pipe()
			select {
			case s.Conns <- theirs:
				return ours, nil
			case <-time.After(time.Minute):
				return nil, errors.New("not accepted")
			}
		}
		first, err := connect()
		if err != nil {
			t.Fatal(err)
		}
		second, err := connect()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := connect(); err == nil {
			t.Error("a third is accepted")
		}
		first.Close()
		third, err := connect()
		if err != nil {
			t.Error(err)
		}
		second.Close()
		third.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
