package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock"
)

// Enclave is what a control server needs of the enclave it speaks for.
type Enclave interface {
	// Terminate ends the enclave and returns when it is gone.
	Terminate(ctx context.Context) error
	// CopyConsole writes the console to w, and with follow goes on until the
	// enclave ends, ctx is done or w fails. It refuses outside debug mode.
	CopyConsole(ctx context.Context, w io.Writer, follow bool) error
	// Dial connects to a vsock port of the enclave.
	Dial(ctx context.Context, port uint32) (net.Conn, error)
}

// A server answers the control protocol for one enclave.
type server struct {
	enclave  Enclave
	describe func() Description
	http     http.Server
	done     sync.WaitGroup // serve and every upgraded connection

	mu       sync.Mutex
	upgraded map[net.Conn]struct{} // hijacked connections; http.Server forgets them
}

// serve starts answering on a socket in dir.
func serve(dir string, e Enclave, describe func() Description) (*server, error) {
	path := filepath.Join(dir, socketName)
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("protect control socket: %w", err)
	}
	s := &server{enclave: e, describe: describe, upgraded: map[net.Conn]struct{}{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathEnclave, s.serveEnclave)
	mux.HandleFunc("POST "+pathTerminate, s.serveTerminate)
	mux.HandleFunc("GET "+pathConsole, s.serveConsole)
	mux.HandleFunc("GET "+pathDial, s.serveDial)
	s.http = http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	s.done.Go(func() { _ = s.http.Serve(l) })
	return s, nil
}

// close lets running answers finish within ctx, then cuts what is left.
func (s *server) close(ctx context.Context) {
	s.mu.Lock()
	for c := range s.upgraded {
		c.Close()
	}
	s.mu.Unlock()
	if err := s.http.Shutdown(ctx); err != nil {
		s.http.Close()
	}
	s.done.Wait()
}

func (s *server) serveEnclave(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.describe())
}

func (s *server) serveTerminate(w http.ResponseWriter, r *http.Request) {
	if err := s.enclave.Terminate(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *server) serveConsole(w http.ResponseWriter, r *http.Request) {
	out := &flushing{w: w, rc: http.NewResponseController(w)}
	err := s.enclave.CopyConsole(r.Context(), out, r.URL.Query().Get("follow") != "")
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
	if err != nil {
		http.Error(w, fmt.Sprintf("port is %q; allowed are 0 to 4294967295", r.URL.Query().Get("port")), http.StatusBadRequest)
		return
	}
	guest, err := s.enclave.Dial(r.Context(), uint32(port))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		guest.Close()
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.mu.Lock()
	s.upgraded[conn] = struct{}{}
	s.mu.Unlock()
	s.done.Go(func() {
		defer func() {
			s.mu.Lock()
			delete(s.upgraded, conn)
			s.mu.Unlock()
		}()
		defer conn.Close()
		defer guest.Close()
		if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", upgradeVsock); err != nil {
			return
		}
		// A client may have sent its first bytes with the request.
		if n := buf.Reader.Buffered(); n > 0 {
			early, err := buf.Reader.Peek(n)
			if err != nil {
				return
			}
			if _, err := guest.Write(early); err != nil {
				return
			}
		}
		_ = vsock.Splice(context.Background(), conn, guest)
	})
}
