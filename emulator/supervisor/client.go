package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A Client speaks to the supervisor of one guest.
type Client struct {
	dir  string
	http http.Client
}

func newClient(dir string) *Client {
	c := &Client{dir: dir}
	c.http.Transport = &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return c.connect(ctx) },
		DisableKeepAlives: true,
	}
	return c
}

func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", filepath.Join(c.dir, socketName))
}

// ErrGone says that the supervisor, and so its guest, ended before it answered.
var ErrGone = errors.New("it has ended")

// Describe asks what the guest is and how it stands.
func (c *Client) Describe(ctx context.Context) (Description, error) {
	d, err := c.describe(ctx, pathEnclave)
	if errors.Is(err, errOther) {
		d, err = c.describe(ctx, pathInstance)
	}
	return d, err
}

// errOther is the answer at the path of another kind of guest.
var errOther = errors.New("it is of another kind")

func (c *Client) describe(ctx context.Context, path string) (Description, error) {
	resp, err := c.do(ctx, http.MethodGet, path)
	if err != nil {
		return Description{}, err
	}
	defer resp.Body.Close()
	var d Description
	err = json.NewDecoder(io.LimitReader(resp.Body, maxDescription)).Decode(&d)
	if err == nil && !d.valid() {
		err = errors.New("it is neither of an enclave nor of an instance")
	}
	if err != nil {
		return Description{}, fmt.Errorf("read description: %w", err)
	}
	return d, nil
}

// goneTimeout is how long a supervisor may take to remove its state directory
// when its guest has ended. It takes 20 ms.
const goneTimeout = 15 * time.Second

// Terminate ends the guest and returns when it is gone, with its supervisor's state
// directory.
func (c *Client) Terminate(ctx context.Context) error {
	resp, err := c.do(ctx, http.MethodPost, pathTerminate)
	if err != nil {
		return err
	}
	resp.Body.Close()
	ctx, cancel := context.WithTimeout(ctx, goneTimeout)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Lstat(c.dir); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it has ended, but its state directory %s is still there: %w", c.dir, ctx.Err())
		case <-tick.C:
		}
	}
}

// Console copies the guest's console to w. With follow it goes on until the guest
// ends or ctx is done.
func (c *Client) Console(ctx context.Context, w io.Writer, follow bool) error {
	path := pathConsole
	if follow {
		path += "?follow=1"
	}
	resp, err := c.do(ctx, http.MethodGet, path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// The supervisor goes away with its guest, perhaps in mid-answer.
	if errors.Is(gone(err), ErrGone) {
		return nil
	}
	return err
}

// Dial opens a vsock stream to a port of the guest. The error wraps
// syscall.ECONNREFUSED if nobody listens there; shortly after an enclave's heartbeat
// that takes a few seconds, in which its application may begin to.
func (c *Client) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial vsock port %d: %w", port, gone(err))
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	up, err := upgrade(conn.(*net.UnixConn), port)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("dial vsock port %d: %w", port, gone(err))
	}
	return up, nil
}

// upgrade turns a connection to a supervisor into one to a port of its guest.
func upgrade(conn *net.UnixConn, port uint32) (*upgradedConn, error) {
	_, err := fmt.Fprintf(conn, "GET %s?port=%d HTTP/1.1\r\nHost: guest\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", pathDial, port, upgradeVsock)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, answerError(resp)
	}
	return &upgradedConn{conn, r}, nil
}

// upgradedConn reads first what came with the request or answer of the upgrade.
type upgradedConn struct {
	*net.UnixConn
	r *bufio.Reader
}

func (c *upgradedConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// WriteTo keeps io.Copy from going around r to the embedded connection.
func (c *upgradedConn) WriteTo(w io.Writer) (int64, error) { return c.r.WriteTo(w) }

func (c *Client) do(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://guest"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error // its method and URL mean nothing to anybody
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, gone(err)
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, answerError(resp)
	}
	return resp, nil
}

// gone is err with its meaning: a supervisor ends with its guest, so a
// connection that it does not take or does not finish is the end of both.
func gone(err error) error {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, fs.ErrNotExist, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE} {
		var answer *answer
		if errors.Is(err, end) && !errors.As(err, &answer) {
			return ErrGone
		}
	}
	return err
}

// An answer is a refusal in the words of the supervisor.
type answer struct {
	text string
	err  error // what it means, or nil
}

func (a *answer) Error() string { return a.text }
func (a *answer) Unwrap() error { return a.err }

// answerError reads a refusal.
func answerError(resp *http.Response) error {
	a := &answer{}
	switch resp.StatusCode {
	case http.StatusServiceUnavailable:
		a.err = syscall.ECONNREFUSED
	case http.StatusNotFound:
		a.err = errOther
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if a.text = strings.TrimSpace(string(text)); err != nil || a.text == "" {
		a.text = "the supervisor answered " + resp.Status
	}
	return a
}
