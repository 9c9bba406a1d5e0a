package kms

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxBody is the longest request in bytes. The longest useful one, a key
	// policy of 32 KiB, is far below.
	MaxBody = 1 << 20

	// bodyTimeout is how long a client may take to send its request, by the clock
	// of the machine: the clock of the Host may stand still.
	bodyTimeout = 30 * time.Second

	contentType  = "application/x-amz-json-1.1"
	targetPrefix = "TrentService." // the service's name in its Smithy model
)

// ServeHTTP answers one request. Whatever is wrong with it, the answer is an error
// of the protocol: status, `{"__type": …}`, and x-amzn-RequestId.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		write(w, &exception{code: codeUnavailable, message: "the key service is closed", status: http.StatusServiceUnavailable})
		return
	}
	defer s.serving.Done()
	id, err := s.newID()
	eventID, err2 := s.newID()
	if err = cmp.Or(err, err2); err != nil {
		s.cfg.Log.Error("key service", "error", err)
		write(w, internal())
		return
	}
	w.Header().Set("x-amzn-RequestId", id)
	name, op, body, e := s.read(w, r)
	if e != nil {
		write(w, e)
		return
	}
	s.serve(w, r, &call{
		s: s, http: r, body: body, op: name, operation: op,
		now: s.cfg.Clock().UTC(), id: id, event: s.newEvent(r, name, op, id, eventID),
	})
}

// read gives the operation and the body of a request.
func (s *Service) read(w http.ResponseWriter, r *http.Request) (string, operation, []byte, *exception) {
	var none operation
	// It stands until net/http has the end of the body and takes it back; that reads
	// the body before it sends an answer, also one that is not looked at here.
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return "", none, nil, internal() // a recorder of a test cannot set one, a server can
	}
	if r.URL.Path != "/" || r.URL.RawQuery != "" {
		return "", none, nil, &exception{codeUnknownOperation, "requests go to /, without a query", http.StatusNotFound}
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return "", none, nil, &exception{codeUnknownOperation, "requests are sent with POST", http.StatusMethodNotAllowed}
	}
	if got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || got != contentType {
		return "", none, nil, refuse(codeUnknownOperation, "Content-Type: %s is expected", contentType)
	}
	name, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	op, known := operations[name]
	if !ok || !known {
		return "", none, nil, refuse(codeUnknownOperation, "X-Amz-Target: %sDecrypt or another operation of the service is expected", targetPrefix)
	}
	body, e := readBody(w, r)
	return name, op, body, e
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *exception) {
	tooLarge := &exception{codeTooLarge, fmt.Sprintf("a request has at most %d bytes", MaxBody), http.StatusRequestEntityTooLarge}
	if r.ContentLength > MaxBody {
		w.Header().Set("Connection", "close") // do not read what is to come
		return nil, tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit):
		return nil, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return nil, &exception{codeTimeout, fmt.Sprintf("the request did not come within %v", bodyTimeout), http.StatusRequestTimeout}
	case err != nil:
		return nil, refuse(codeSerialization, "the request ended early")
	}
	return body, nil
}

// serve does what a readable request asks, with the faults that were injected.
func (s *Service) serve(w http.ResponseWriter, r *http.Request, c *call) {
	if f, ok := s.faults.take(c.op, FaultDelay); ok && !s.wait(r, f.Delay) {
		panic(http.ErrAbortHandler)
	}
	if _, ok := s.faults.take(c.op, FaultDrop); ok {
		c.event.InjectedFault = FaultDrop.String()
		c.event.ErrorCode, c.event.ErrorMessage = codeInternal, "the connection was closed by an injected fault"
		s.audit.add(c.event)
		panic(http.ErrAbortHandler) // net/http closes the connection and logs nothing
	}
	out, err := c.answer()
	var e *exception
	if err != nil {
		var own bool
		if e, own = asException(err); own {
			s.cfg.Log.Error("key service", "operation", c.op, "request", c.id, "error", err)
		}
		c.event.ErrorCode, c.event.ErrorMessage = e.code, e.message
		if e.code == codeAccessDenied {
			c.event.ErrorCode = "AccessDenied"
		}
		c.event.Response = nil
	}
	_, truncate := s.faults.take(c.op, FaultTruncate)
	if truncate {
		c.event.InjectedFault = FaultTruncate.String()
	}
	s.audit.add(c.event)
	switch {
	case truncate:
		writeHalf(w, out)
	case e != nil:
		write(w, e)
	default:
		writeBody(w, http.StatusOK, out)
	}
}

// wait waits for d, or until nobody waits for the answer.
func (s *Service) wait(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-s.ctx.Done():
	}
	return false
}

func write(w http.ResponseWriter, e *exception) {
	status := e.status
	if status == 0 {
		status = http.StatusBadRequest
	}
	w.Header().Set("X-Amzn-ErrorType", e.code)
	writeBody(w, status, e.body())
}

// writeBody has no error to give: a client that went away needs no answer.
func writeBody(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// writeHalf is FaultTruncate.
func writeHalf(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+2))
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}
