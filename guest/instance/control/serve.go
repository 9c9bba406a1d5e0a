package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// A Handler does in the guest what the Host asks for. Arguments have been
// validated. One method runs at a time. When ctx ends the Host does not wait any
// more, and the method returns soon. An error that is an *[Error] keeps its code.
type Handler interface {
	Resume(ctx context.Context, r *Resume) (*Ready, error)
	Quiesce(ctx context.Context) error
	// Devices returns all PCI functions once those wanted are there, and an
	// *Error with code Missing when ctx has ended by its deadline before.
	Devices(ctx context.Context, want []string) ([]Device, error)
}

// Serve answers the requests that come over port until ctx ends or port does, and
// closes port. It returns nil after ctx has ended, else the port's error, io.EOF
// included: a port whose other end may come back must not report its going.
func Serve(ctx context.Context, port io.ReadWriteCloser, h Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	closed := sync.OnceValue(port.Close)
	stop := context.AfterFunc(ctx, func() { closed() })
	defer stop()

	s := &server{port: port, handler: h, cancel: func() {}}
	err := s.run(ctx)
	ended := ctx.Err() != nil
	cancel() // and with it the port, if a write is stuck
	s.end()
	if err := closed(); err != nil && !ended {
		return fmt.Errorf("close control port: %w", err)
	}
	if ended {
		return nil
	}
	return fmt.Errorf("serve control port: %w", err)
}

type server struct {
	port    io.ReadWriteCloser
	handler Handler
	running sync.WaitGroup     // of the request being carried out
	cancel  context.CancelFunc // of that request
}

// run reads requests until that fails.
func (s *server) run(ctx context.Context) error {
	lines := newLineReader(s.port)
	for {
		line, err := lines.line()
		if err != nil {
			return err
		}
		req, ok := parseRequest(line)
		if !ok {
			continue
		}
		s.end()
		var one context.Context
		one, s.cancel = context.WithCancel(ctx)
		s.running.Go(func() { s.answer(one, req) })
	}
}

// end ends the request being carried out.
func (s *server) end() {
	s.cancel()
	s.running.Wait()
}

// parseRequest reads a line, which is dropped if it has no id.
func parseRequest(line []byte) (*request, bool) {
	var head struct {
		Version int    `json:"v"`
		ID      uint64 `json:"id"`
	}
	if json.Unmarshal(line, &head) != nil || head.ID == 0 {
		return nil, false
	}
	req := &request{}
	if head.Version != Version || json.Unmarshal(line, req) != nil {
		req = &request{}
	}
	req.Version, req.ID = head.Version, head.ID
	return req, true
}

// answer carries out one request. That the answer cannot be written is for the
// reader to find out: the port is broken, or nobody is there.
func (s *server) answer(ctx context.Context, req *request) {
	a, err := s.do(ctx, req)
	if err != nil {
		if ctx.Err() != nil {
			err = &Error{Code: Cancelled, Message: "another request came"}
		}
		a = &answer{Error: failure(err)}
	}
	a.Version, a.Re = Version, req.ID
	line, err := encode(a)
	if err != nil {
		line, _ = encode(&answer{Version: Version, Re: req.ID, Error: failure(fmt.Errorf("answer: %w", err))})
	}
	_, _ = s.port.Write(line)
}

func (s *server) do(ctx context.Context, req *request) (*answer, error) {
	switch {
	case req.Version != Version:
		return nil, &Error{Code: Unsupported, Message: fmt.Sprintf("protocol version %d, this is %d", req.Version, Version)}
	case req.count() != 1:
		return nil, &Error{Code: Unsupported, Message: "not a request that this version knows"}
	case req.Ping != nil:
		return &answer{Pong: &struct{}{}}, nil
	case req.Resume != nil:
		if err := req.Resume.Validate(); err != nil {
			return nil, err
		}
		ready, err := s.handler.Resume(ctx, req.Resume)
		return &answer{Ready: ready}, err
	case req.Quiesce != nil:
		return &answer{Quiesced: &struct{}{}}, s.handler.Quiesce(ctx)
	}
	if err := req.Devices.Validate(); err != nil {
		return nil, err
	}
	// Not more than the answer holds, so no need to bound what comes back.
	wait, cancel := context.WithTimeout(ctx, time.Duration(req.Devices.TimeoutMs)*time.Millisecond)
	defer cancel()
	list, err := s.handler.Devices(wait, req.Devices.Want)
	list = list[:min(len(list), MaxDevices)]
	if list == nil {
		list = []Device{}
	}
	return &answer{Devices: &list}, err
}
