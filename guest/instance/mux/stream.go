package mux

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
)

// A stream is one connection. Its user has one end of a net.Pipe, which knows
// about deadlines and closing; two goroutines carry what goes through the other.
type stream struct {
	m    *mux
	id   uint32
	user net.Conn
	pipe net.Conn

	known bool // by the peer; guarded by m.mu

	opened chan struct{} // closed when the guest took it; Host only
	over   chan struct{} // closed when the peer has closed it, or the port ended

	mu       sync.Mutex
	changed  sync.Cond    // for the fields below
	received bytes.Buffer // not taken by the user yet
	owed     int          // bytes the user took that are not credited yet
	credit   int          // bytes that may be sent
	ended    bool         // over is closed
	gone     bool         // the user has closed it
	taken    bool         // opened is closed
}

func newStream(m *mux, id uint32) *stream {
	s := &stream{m: m, id: id, credit: window, opened: make(chan struct{}), over: make(chan struct{})}
	s.changed.L = &s.mu
	s.user, s.pipe = net.Pipe()
	return s
}

// run carries both directions until the stream has ended on one side.
func (s *stream) run() {
	var wg sync.WaitGroup
	wg.Go(s.carryIn)
	s.carryOut()
	wg.Wait()
	s.m.remove(s)
}

// carryIn carries from the port to the user.
func (s *stream) carryIn() {
	buf := make([]byte, maxPayload)
	var credit [4]byte
	for {
		n := s.take(buf)
		if n == 0 {
			_ = s.pipe.Close() // the user reads io.EOF
			return
		}
		if _, err := s.pipe.Write(buf[:n]); err != nil {
			return // the user has closed it
		}
		if n := s.settle(); n > 0 {
			binary.LittleEndian.PutUint32(credit[:], uint32(n))
			s.m.send(kindCredit, s.id, credit[:])
		}
	}
}

// take waits for bytes from the port; 0 means that none will come.
func (s *stream) take(buf []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.received.Len() == 0 && !s.ended && !s.gone {
		s.changed.Wait()
	}
	n, _ := s.received.Read(buf) // io.EOF says that it is empty
	s.owed += n
	return n
}

// settle is the credit to be given now. It is given in large pieces, since each is
// a frame.
func (s *stream) settle() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owed < window/4 {
		return 0
	}
	n := s.owed
	s.owed = 0
	return n
}

// carryOut carries from the user to the port.
func (s *stream) carryOut() {
	buf := make([]byte, maxPayload)
	for {
		n, err := s.pipe.Read(buf)
		for sent := 0; sent < n; {
			m := s.spend(n - sent)
			if m == 0 {
				return // what the user has not read yet is still read: carryIn closes
			}
			s.m.send(kindData, s.id, buf[sent:sent+m])
			sent += m
		}
		if err != nil {
			break
		}
	}
	s.mu.Lock()
	s.gone = true
	ended := s.ended
	s.changed.Broadcast()
	s.mu.Unlock()
	_ = s.pipe.Close()
	if !ended {
		s.m.send(kindClose, s.id, nil)
	}
}

// spend waits until up to want bytes may be sent; 0 means that the stream is over.
func (s *stream) spend(want int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.credit == 0 && !s.ended {
		s.changed.Wait()
	}
	if s.ended {
		return 0
	}
	n := min(want, s.credit)
	s.credit -= n
	return n
}

// deliver takes data from the port and does not block. False is a peer that sent
// more than there is room for.
func (s *stream) deliver(b []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.received.Len()+s.owed+len(b) > window {
		return false
	}
	if !s.ended && !s.gone {
		s.received.Write(b)
		s.changed.Broadcast()
	}
	return true
}

// addCredit takes credit from the port. False is a peer that gives back more than
// it got.
func (s *stream) addCredit(b []byte) bool {
	if len(b) != 4 {
		return false
	}
	n := binary.LittleEndian.Uint32(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if uint64(n) > uint64(window-s.credit) {
		return false
	}
	s.credit += int(n)
	s.changed.Broadcast()
	return true
}

// accept says that the guest took the stream.
func (s *stream) accept() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.taken {
		s.taken = true
		close(s.opened)
	}
}

// end says that nothing more comes from the port. What came is still read.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended = true
		close(s.over)
		s.changed.Broadcast()
	}
}

// abort is end without that.
func (s *stream) abort() {
	s.end()
	_ = s.pipe.Close()
}
