package guestagent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/crypto/ssh"

	"github.com/nitrolab/nitrolab/guest/agent/files"
)

// A FileError is what failed in the guest when a file was copied. It unwraps to the
// guest's errno, so that errors.Is(err, fs.ErrNotExist) works.
type FileError = files.Error

// Put writes r to the file at path, an absolute one, in the guest. The file is
// there as a whole or not at all, with the permissions of mode; one that was there
// is replaced, and so is a symbolic link. Its folder must exist. Files that cannot
// be replaced, as those of /proc and /sys, are written by a command.
//
// If ctx ends first, nothing is left of the file. r may be read a little further
// than it was used, by a goroutine that ends with the next Read. The error is a
// *FileError if the guest refused.
func (c *Client) Put(ctx context.Context, path string, mode fs.FileMode, r io.Reader) error {
	err := c.copyFile(ctx, func(conn io.ReadWriteCloser) error { return files.Put(conn, path, mode, r) })
	if err != nil {
		return fmt.Errorf("put %s into guest: %w", path, err)
	}
	return nil
}

// Get writes the file at path, an absolute one, in the guest to w. It may be one of
// /proc or /sys, or a block device. The guest decides how much it sends. The error
// is a *FileError if the guest refused; w has got a part of the file then, or if
// ctx ended first.
func (c *Client) Get(ctx context.Context, path string, w io.Writer) error {
	err := c.copyFile(ctx, func(conn io.ReadWriteCloser) error {
		_, err := files.Get(conn, path, w)
		return err
	})
	if err != nil {
		return fmt.Errorf("get %s from guest: %w", path, err)
	}
	return nil
}

// copyFile runs one copy on a session of its own.
func (c *Client) copyFile(ctx context.Context, run func(io.ReadWriteCloser) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	session, err := c.session()
	if err != nil {
		return err
	}
	defer session.Close()
	conn := &fileConn{session: session}
	if conn.WriteCloser, err = session.StdinPipe(); err == nil {
		conn.Reader, err = session.StdoutPipe()
	}
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		if err := session.RequestSubsystem(files.Subsystem); err != nil {
			done <- lost(err)
			return
		}
		err := run(conn)
		if errors.Is(err, files.ErrEnded) {
			err = ErrLost
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		c.end(session, func() { <-done })
		return ctx.Err()
	}
}

// A fileConn is a session as a stream. Closing it ends reads and writes.
type fileConn struct {
	io.Reader
	io.WriteCloser
	session *ssh.Session
}

func (c *fileConn) Close() error { return c.session.Close() }
