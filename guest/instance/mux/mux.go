package mux

import (
	"errors"
	"io"
	"sync"
)

// A mux is what both ends have: the port, and the streams on it.
type mux struct {
	port  io.ReadWriteCloser
	close func() error   // closes port, once
	wg    sync.WaitGroup // all goroutines

	writing sync.Mutex
	out     []byte // reused

	mu      sync.Mutex
	streams map[uint32]*stream
	closed  bool          // the port has ended
	done    chan struct{} // closed with that
}

func newMux(port io.ReadWriteCloser) *mux {
	return &mux{port: port, close: sync.OnceValue(port.Close), streams: map[uint32]*stream{}, done: make(chan struct{})}
}

// send writes a frame. That a port is broken is for its reader to find out, and
// closing it is how to tell him.
func (m *mux) send(k kind, stream uint32, payload []byte) {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.out = appendFrame(m.out[:0], k, stream, payload)
	if _, err := m.port.Write(m.out); err != nil {
		_ = m.close()
	}
}

// receive hands frames to handle until the port ends, and then ends the streams.
func (m *mux) receive(handle func(k kind, id uint32, payload []byte)) error {
	frames := newFrameReader(m.port)
	for {
		k, id, payload, err := frames.frame()
		if err != nil {
			err = errors.Join(err, m.close())
			m.mu.Lock()
			m.closed = true
			close(m.done)
			m.mu.Unlock()
			m.abortAll()
			return err
		}
		handle(k, id, payload)
	}
}

// both handles the frames that both ends send. It is false for data and credit of a
// stream that is not there.
func (m *mux) both(k kind, id uint32, payload []byte) bool {
	s := m.stream(id)
	ok := true
	switch {
	case s == nil:
		return k != kindData && k != kindCredit
	case k == kindData:
		ok = s.deliver(payload)
	case k == kindCredit:
		ok = s.addCredit(payload)
	case k == kindClose:
		s.end()
	}
	if !ok {
		s.abort() // a peer that breaks the rules gets no answer
	}
	return true
}

func (m *mux) stream(id uint32) *stream {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.streams[id]
}

var (
	errClosed = errors.New("port has ended")
	errMany   = errors.New("too many streams")
	errTwice  = errors.New("stream is open")
)

// add makes a stream and runs it after open, from when on the peer knows it.
func (m *mux) add(id uint32, open func()) (*stream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return nil, errClosed
	case len(m.streams) >= MaxStreams:
		return nil, errMany
	case m.streams[id] != nil:
		return nil, errTwice
	}
	s := newStream(m, id)
	m.streams[id] = s
	m.wg.Go(func() {
		open()
		m.mu.Lock()
		s.known = true
		m.mu.Unlock()
		s.run()
	})
	return s, nil
}

func (m *mux) remove(s *stream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.streams, s.id)
}

// ids appends the ids of all streams that the peer knows.
func (m *mux) ids(ids []uint32) []uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, s := range m.streams {
		if s.known {
			ids = append(ids, id)
		}
	}
	return ids
}

func (m *mux) abortAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.streams {
		s.abort()
	}
}
