// Command vsock joins its standard input and output with one vsock connection,
// as nc does with TCP: for a shell in an enclave, and for tests.
//
//	vsock connect CID PORT    connects to a port, of the parent with CID 3
//	vsock listen PORT         takes one connection
//
// It ends when both directions have ended. The end of its input closes the
// connection for writing only, so an answer can still come.
package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strconv"

	"github.com/mdlayher/vsock"
)

// Exit codes.
const (
	exitFailed = 1 // no connection, or it broke
	exitUsage  = 2
)

func main() {
	open, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "vsock:", err)
		os.Exit(exitUsage)
	}
	c, err := open()
	if err == nil {
		err = join(c, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "vsock:", err)
		os.Exit(exitFailed)
	}
}

// A conn is a stream whose directions end one by one.
type conn interface {
	net.Conn
	CloseWrite() error
}

var _ conn = (*vsock.Conn)(nil)

var errUsage = errors.New("usage: vsock connect CID PORT | vsock listen PORT")

// parse returns what opens the connection that args ask for.
func parse(args []string) (open func() (conn, error), err error) {
	switch {
	case len(args) == 3 && args[0] == "connect":
		cid, err := number("CID", args[1])
		if err != nil {
			return nil, err
		}
		port, err := number("port", args[2])
		return func() (conn, error) { return connect(cid, port) }, err
	case len(args) == 2 && args[0] == "listen":
		port, err := number("port", args[1])
		return func() (conn, error) { return listen(port) }, err
	}
	return nil, errUsage
}

// number reads a CID or a port. The largest 32-bit value is a wildcard.
func number(field, text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == math.MaxUint32 {
		return 0, fmt.Errorf("%s is %q; allowed are 0 to %d", field, text, uint32(math.MaxUint32-1))
	}
	return uint32(n), nil
}

func connect(cid, port uint32) (conn, error) {
	c, err := vsock.Dial(cid, port, nil)
	if err != nil {
		return nil, fmt.Errorf("connect to CID %d port %d: %w", cid, port, err)
	}
	return c, nil
}

// listen takes the first connection. Later ones are refused.
func listen(port uint32) (conn, error) {
	l, err := vsock.Listen(port, nil)
	if err != nil {
		return nil, fmt.Errorf("listen on port %d: %w", port, err)
	}
	defer l.Close()
	c, err := l.Accept()
	if err != nil {
		return nil, fmt.Errorf("accept on port %d: %w", port, err)
	}
	return c.(conn), nil // *vsock.Conn, says its Listener
}

// join copies both ways until both directions have ended. A broken connection
// ends it at once, whatever the input does.
func join(c conn, in io.Reader, out io.Writer) error {
	defer c.Close()
	sent, received := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := io.Copy(c, in)
		sent <- errors.Join(err, c.CloseWrite())
	}()
	go func() {
		_, err := io.Copy(out, c)
		received <- err
	}()
	for range 2 {
		select {
		case err := <-sent:
			if err != nil {
				return fmt.Errorf("send: %w", err)
			}
		case err := <-received:
			if err != nil {
				return fmt.Errorf("receive: %w", err)
			}
		}
	}
	return nil
}
