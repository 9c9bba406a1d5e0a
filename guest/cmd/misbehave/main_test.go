package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets this test binary be the program.
func TestMain(m *testing.M) {
	if os.Getenv("NITROLAB_TEST_MISBEHAVE") != "" {
		main()
	}
	os.Exit(m.Run())
}

func misbehave(args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "NITROLAB_TEST_MISBEHAVE=1")
	var out bytes.Buffer
	cmd.Stdout = &out
	return cmd, &out
}

func TestExit(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want int
	}{
		{[]string{"exit", "0"}, 0},
		{[]string{"exit", "7"}, 7},
		{[]string{"flood", "1"}, 0},
		{[]string{"exit", "256"}, 2},
		{[]string{"exit"}, 2},
		{[]string{"panic", "now"}, 2},
		{[]string{"flood", "-1"}, 2},
		{[]string{"other"}, 2},
		{nil, 2},
	} {
		cmd, _ := misbehave(tt.args...)
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != tt.want {
			t.Errorf("%q ends with %d, want %d", tt.args, got, tt.want)
		}
	}
}

func TestFlood(t *testing.T) {
	cmd, out := misbehave("flood", "100000")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if out.Len() != 100000 {
		t.Errorf("%d bytes, want 100000", out.Len())
	}
	for line := range strings.Lines(out.String()) {
		if len(line) > 80 {
			t.Fatalf("line of %d bytes", len(line))
		}
	}
}

// It stays until it is killed.
func TestSleep(t *testing.T) {
	cmd, _ := misbehave("sleep")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		t.Fatalf("ended by itself: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("Wait = %v, want killed", err)
	}
}
