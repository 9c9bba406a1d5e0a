package instance

import (
	"log/slog"
	"net"
	"sync"

	"github.com/mdlayher/vsock"
)

// hostCID is the Host's vsock address as an instance sees it. Enclaves have
// addresses of their own and may connect to any port of their parent: that is what
// vsock is for there. The agent, which asks for no password, is not for them.
const hostCID = vsock.Host

// A hostListener accepts connections from the Host and closes all others.
type hostListener struct {
	net.Listener
	log  *slog.Logger
	once sync.Once
}

// Accept implements [net.Listener].
func (l *hostListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if fromHost(c.RemoteAddr()) {
			return c, nil
		}
		// Once: whoever is refused decides how often.
		l.once.Do(func() { l.log.Warn("refused a connection to the agent; more are not reported", "peer", c.RemoteAddr()) })
		_ = c.Close()
	}
}

func fromHost(a net.Addr) bool {
	v, ok := a.(*vsock.Addr)
	return ok && v.ContextID == hostCID
}
