package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock"
)

// Limits of the control socket. Only its owner can open it, so they guard
// against programs that are stuck rather than against enemies.
const (
	headerTimeout   = 10 * time.Second
	maxHeaderBytes  = 16 << 10
	shutdownTimeout = 2 * time.Second // for answers under way when the guest has ended
)

// A server answers the control protocol for one guest.
type server struct {
	ward *ward
	http http.Server

	ctx    context.Context // ends when close begins to cut connections
	cancel context.CancelFunc
	done   sync.WaitGroup // serve and every upgraded connection

	mu     sync.Mutex
	closed bool // guarded by mu: no more upgrades
}

// serve starts answering on a socket in dir.
func serve(dir string, w *ward) (*server, error) {
	path := filepath.Join(dir, socketName)
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("protect control socket: %w", err)
	}
	s := &server{ward: w}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+w.path, s.serveDescription)
	mux.HandleFunc("POST "+pathTerminate, s.serveTerminate)
	mux.HandleFunc("GET "+pathConsole, s.serveConsole)
	mux.HandleFunc("GET "+pathDial, s.serveDial)
	s.http = http.Server{
		Handler:           mux,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       headerTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
	s.done.Go(func() { _ = s.http.Serve(l) })
	return s, nil
}

// close lets running answers finish within shutdownTimeout, cuts what is left
// and waits for it.
func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close()
	}
	s.done.Wait()
}

func (s *server) serveDescription(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = newEncoder(w).Encode(s.ward.describe())
}

func (s *server) serveTerminate(w http.ResponseWriter, r *http.Request) {
	if err := s.ward.Terminate(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *server) serveConsole(w http.ResponseWriter, r *http.Request) {
	out := &flushing{w: w, rc: http.NewResponseController(w)}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	err := s.ward.CopyConsole(ctx, out, r.URL.Query().Get("follow") != "")
	if err != nil && !out.began {
		http.Error(w, err.Error(), http.StatusForbidden)
	}
}

// flushing sends each piece of console at once: a person is watching.
type flushing struct {
	w     io.Writer
	rc    *http.ResponseController
	began bool
}

func (f *flushing) Write(p []byte) (int, error) {
	f.began = true
	n, err := f.w.Write(p)
	if err != nil {
		return n, err
	}
	return n, f.rc.Flush()
}

func (s *server) serveDial(w http.ResponseWriter, r *http.Request) {
	port, err := strconv.ParseUint(r.URL.Query().Get("port"), 10, 32)
	if err != nil || uint32(port) == vsock.PortAny {
		http.Error(w, fmt.Sprintf("port is %q; allowed are 0 to %d", r.URL.Query().Get("port"), vsock.PortAny-1), http.StatusBadRequest)
		return
	}
	guest, err := s.ward.dial(r.Context(), uint32(port))
	if err != nil {
		code := http.StatusBadGateway
		if errors.Is(err, syscall.ECONNREFUSED) {
			code = http.StatusServiceUnavailable
		}
		http.Error(w, err.Error(), code)
		return
	}
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		guest.Close()
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		guest.Close()
		conn.Close()
		return
	}
	s.done.Go(func() {
		if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", upgradeVsock); err != nil {
			guest.Close()
			conn.Close()
			return
		}
		// The client may have sent its first bytes with the request: they are in buf.
		_ = vsock.Splice(s.ctx, &upgradedConn{conn.(*net.UnixConn), buf.Reader}, guest)
	})
}
