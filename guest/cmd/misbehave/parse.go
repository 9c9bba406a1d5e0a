package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
)

// An action returns only if it failed, or if it was exit or a limited flood.
type action func() error

const usage = "usage: misbehave panic | reset | halt | sleep | spin | exit status | flood [bytes]"

// parse returns the action that args ask for.
func parse(args []string) (action, error) {
	if len(args) == 0 {
		return nil, errors.New(usage)
	}
	name, args := args[0], args[1:]
	simple := map[string]action{"panic": crash, "reset": reset, "halt": halt, "sleep": sleep, "spin": spin}
	if act, ok := simple[name]; ok && len(args) == 0 {
		return act, nil
	}
	switch {
	case name == "exit" && len(args) == 1:
		status, err := strconv.ParseUint(args[0], 10, 8)
		if err != nil {
			return nil, err
		}
		return func() error { os.Exit(int(status)); return nil }, nil
	case name == "flood" && len(args) == 0:
		return func() error { return flood(os.Stdout, -1) }, nil
	case name == "flood" && len(args) == 1:
		n, err := strconv.ParseUint(args[0], 10, 62)
		if err != nil {
			return nil, err
		}
		return func() error {
			if err := flood(os.Stdout, int64(n)); err != nil {
				return err
			}
			os.Exit(0)
			return nil
		}, nil
	}
	return nil, errors.New(usage)
}

// flood writes n bytes of lines to w as fast as it takes them, or without end
// if n is negative.
func flood(w io.Writer, n int64) error {
	line := append(bytes.Repeat([]byte("flood "), 13), '\n')
	block := bytes.Repeat(line, 50)
	for n != 0 {
		b := block
		if n > 0 && n < int64(len(b)) {
			b = b[:n]
		}
		m, err := w.Write(b)
		if err != nil {
			return err
		}
		if n > 0 {
			n -= int64(m)
		}
	}
	return nil
}
