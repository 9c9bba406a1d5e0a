package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
)

// A Client speaks to the supervisor of one enclave.
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

// Describe asks what the enclave is and how it stands.
func (c *Client) Describe(ctx context.Context) (Description, error) {
	var d Description
	resp, err := c.do(ctx, http.MethodGet, pathEnclave)
	if err != nil {
		return d, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&d); err != nil {
		return d, fmt.Errorf("read description: %w", err)
	}
	return d, nil
}

// Terminate ends the enclave and returns when it is gone.
func (c *Client) Terminate(ctx context.Context) error {
	resp, err := c.do(ctx, http.MethodPost, pathTerminate)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Console copies the enclave's console to w. With follow it goes on until the
// enclave ends or ctx is done.
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
	// The supervisor goes away with its enclave, perhaps in mid-answer.
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// Dial opens a vsock stream to a port of the enclave.
func (c *Client) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_, err = fmt.Fprintf(conn, "GET %s?port=%d HTTP/1.1\r\nHost: enclave\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", pathDial, port, upgradeVsock)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("dial vsock port %d: %w", port, err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("dial vsock port %d: %w", port, err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer conn.Close()
		return nil, fmt.Errorf("dial vsock port %d: %w", port, answerError(resp))
	}
	return &upgradedConn{UnixConn: conn.(*net.UnixConn), r: r}, nil
}

// upgradedConn reads first what came with the answer to the upgrade.
type upgradedConn struct {
	*net.UnixConn
	r *bufio.Reader
}

func (c *upgradedConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// WriteTo keeps io.Copy from going around r to the embedded connection.
func (c *upgradedConn) WriteTo(w io.Writer) (int64, error) { return c.r.WriteTo(w) }

func (c *Client) do(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://enclave"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask supervisor: %w", err)
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, answerError(resp)
	}
	return resp, nil
}

// answerError turns a refusal into the sentence that the supervisor wrote.
func answerError(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil || len(text) == 0 {
		return fmt.Errorf("supervisor answered %s", resp.Status)
	}
	return errors.New(strings.TrimSpace(string(text)))
}
