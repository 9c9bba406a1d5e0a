package enclaveproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/guest/nitrocli/wire"
)

const (
	// commandTimeout is what a client has to send its command, and ours to take
	// one message: what nitro-cli allows the other way round
	// (ENCLAVE_PROC_WAIT_TIMEOUT_MSEC).
	commandTimeout = 3 * time.Second
	// maxClients bounds the connections that are served at once; more wait.
	maxClients = 32
)

// A process looks after one enclave.
type process struct {
	cfg      Config
	owner    uint32 // user that may do everything, besides root
	e        *enclave
	measured *measuring
	socket   *socket

	deaf chan struct{} // closed when no client can come any more

	mu    sync.Mutex // protects state
	state State

	terminateOnce sync.Once
	terminateErr  error

	clients sync.WaitGroup
	room    chan struct{} // holds one item for each client
}

// Serve starts the enclave that the nitro-cli at the other end of cli asks for,
// and looks after it until it ends, ctx ends or somebody terminates it; then
// nothing of it is left. Serve closes cli, as soon as the enclave has booted or
// failed to.
//
// The error is why there is no enclave, or why it could not be ended cleanly; it
// has been reported to cli or to the log.
func Serve(ctx context.Context, cli *net.UnixConn, cfg Config) error {
	cfg = cfg.withDefaults()
	p, err := start(ctx, cli, cfg)
	if err != nil {
		cfg.Log.Error("run enclave", "error", err)
		reportFailure(cli, err)
		return errors.Join(err, cli.Close())
	}
	cfg.Log.Info("enclave runs", "id", p.e.id, "cid", p.e.cid)
	err = p.reportRun(cli)
	err = errors.Join(err, cli.Close())
	if err != nil {
		// The user saw no ID, so nobody would ever end it.
		cfg.Log.Error("nitro-cli has gone, the enclave is terminated", "error", err)
	} else {
		p.wait(ctx)
	}
	return errors.Join(err, p.close())
}

// start reads the command, launches the enclave and opens the socket.
func start(ctx context.Context, cli *net.UnixConn, cfg Config) (*process, error) {
	args, err := readRun(ctx, cli)
	if err != nil {
		return nil, err
	}
	watched, unwatch := watchPeer(ctx, cli)
	defer unwatch()
	say := func(text string) error {
		return failure.Wrap(failure.EnclaveProcessSendReplyFailure, send(cli, func() error { return wire.WriteStderr(cli, text+"\n") }))
	}
	e, err := launch(watched, &cfg, args, say)
	if err != nil {
		return nil, failure.During("Failed to run enclave", err)
	}
	p := &process{
		cfg: cfg, owner: uint32(os.Getuid()), e: e, state: Running,
		deaf: make(chan struct{}), room: make(chan struct{}, maxClients),
	}
	if p.socket, err = listen(cfg.SocketsDir, e.id); err != nil {
		return nil, errors.Join(failure.During("Failed to start connection listener", err), e.close())
	}
	p.measured = startMeasuring(e.image, e.imageSize)
	p.clients.Go(p.accept)
	return p, nil
}

// readRun waits for the command that the process was made for. nitro-cli may
// take its time: it asks all other processes for their names first.
func readRun(ctx context.Context, cli *net.UnixConn) (args wire.RunArgs, err error) {
	stop := context.AfterFunc(ctx, func() { _ = cli.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	command, err := wire.ReadCommand(cli)
	if err == nil && command != wire.Run {
		err = fmt.Errorf("command is %s, there is no enclave yet", command)
	}
	if err == nil {
		args, err = wire.ReadArgs[wire.RunArgs](cli)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return args, failure.Wrap(failure.InvalidCommand, err)
}

var errPeerGone = errors.New("nitro-cli has gone")

// watchPeer is a context that ends when the peer of conn closes it. unwatch ends
// the watch; it must be called.
func watchPeer(ctx context.Context, conn *net.UnixConn) (_ context.Context, unwatch func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			cancel(errPeerGone)
		}
	}()
	return ctx, func() {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		<-done
		cancel(nil)
	}
}

// send writes one message with a deadline.
func send(conn net.Conn, write func() error) error {
	if err := conn.SetWriteDeadline(time.Now().Add(commandTimeout)); err != nil {
		return err
	}
	return write()
}

// reportFailure tells the client why. That it may not be there any more changes
// nothing.
func reportFailure(conn net.Conn, err error) {
	_ = send(conn, func() error {
		return errors.Join(
			wire.WriteStderr(conn, failure.Message(err, false)+"\n"),
			wire.WriteStatus(conn, int32(unix.EINVAL)))
	})
}

// reportRun prints what run-enclave prints.
func (p *process) reportRun(cli net.Conn) error {
	e := p.e
	return replyJSON(cli, RunInfo{
		EnclaveName: e.name, EnclaveID: e.id, ProcessID: os.Getpid(), EnclaveCID: e.cid,
		NumberOfCPUs: len(e.cpus), CPUIDs: e.cpus, MemoryMiB: e.size >> 20,
	})
}

// replyJSON sends v for standard output, and success.
func replyJSON(conn net.Conn, v any) error {
	text, err := encode(v)
	if err != nil {
		return failure.Wrap(failure.SerdeError, err)
	}
	err = send(conn, func() error {
		if err := wire.WriteStdout(conn, text); err != nil {
			return err
		}
		return wire.WriteStatus(conn, 0)
	})
	return failure.Wrap(failure.EnclaveProcessSendReplyFailure, err)
}

// wait waits until there is nothing more to do.
func (p *process) wait(ctx context.Context) {
	select {
	case <-p.e.ended.done:
		if errors.Is(p.e.ended.err, context.Canceled) {
			p.cfg.Log.Info("the enclave was terminated")
			return
		}
		if err := p.e.ended.err; err != nil {
			p.cfg.Log.Error("wait for the end of the enclave; it is terminated", "error", err)
			return
		}
		p.cfg.Log.Warn("hang-up event: the enclave has ended")
	case <-p.socket.gone:
		p.cfg.Log.Warn("the socket was removed: the enclave is terminated")
	case <-ctx.Done():
		p.cfg.Log.Warn("the enclave is terminated", "cause", context.Cause(ctx))
	case <-p.deaf:
		p.cfg.Log.Error("the enclave is terminated: nobody could do it later")
	}
}

// close ends the enclave if it runs, and everything that belongs to it.
func (p *process) close() error {
	// The socket first: an enclave that has ended is not one to describe.
	err := p.socket.close()
	err = errors.Join(err, p.terminate())
	p.clients.Wait()
	return err
}

// terminate ends the enclave and gives its memory back. All calls wait for the
// first one and return what it did.
func (p *process) terminate() error {
	p.terminateOnce.Do(func() {
		p.mu.Lock()
		p.state = Terminating
		p.mu.Unlock()
		p.measured.stop()
		p.terminateErr = p.e.close()
		if p.terminateErr != nil {
			p.cfg.Log.Error("terminate enclave", "error", p.terminateErr)
		}
	})
	return p.terminateErr
}

// accept serves clients until the socket is closed.
func (p *process) accept() {
	for {
		conn, err := p.socket.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors or the like: without clients to wait for there
			// is nothing that gives them back.
			p.cfg.Log.Error("accept", "error", err)
			close(p.deaf)
			return
		}
		p.room <- struct{}{}
		p.clients.Go(func() {
			defer func() { <-p.room }()
			defer conn.Close()
			if err := p.serveClient(conn); err != nil && !errors.Is(err, io.EOF) {
				p.cfg.Log.Warn("command failed", "error", err)
			}
		})
	}
}
