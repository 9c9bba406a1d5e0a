package linklocal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inNamespace, in the environment, makes this binary do what TestLoopback wants of
// it in a network namespace of its own.
const inNamespace = "NITROLAB_TEST_LINKLOCAL_NAMESPACE"

func namespaceMain() bool {
	if os.Getenv(inNamespace) == "" {
		return false
	}
	if err := overLoopback(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("good")
	return true
}

// The real kernel's loopback interface takes the addresses, also when they are
// there, and connections to them.
func TestLoopback(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	text := string(out)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSPC), strings.Contains(text, "bring up loopback: operation not permitted"):
		t.Skip("this machine gives no network namespaces to its users; the VM tests cover it: ", err)
	case err != nil || strings.TrimSpace(text) != "good":
		t.Errorf("%v: %s", err, text)
	}
}

// overLoopback starts the services twice and goes through them.
func overLoopback() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	h := newFakeHost()
	for range 2 {
		s, err := Start(ctx, Config{Dial: h.dial})
		if err != nil {
			return err
		}
		for _, at := range []string{imdsAt, servicesAt, dnsAt} {
			if err := echo(ctx, h, "tcp", at); err != nil {
				return fmt.Errorf("TCP %s: %w", at, err)
			}
		}
		if err := echo(ctx, h, "udp", dnsAt); err != nil {
			return fmt.Errorf("UDP %s: %w", dnsAt, err)
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

// echo sends a word, which the Host sends back as it came, and asks who answered.
func echo(ctx context.Context, h *fakeHost, network, at string) error {
	c, err := new(net.Dialer).DialContext(ctx, network, at)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "word"); err != nil {
		return err
	}
	host := <-h.asked
	defer host.Close()
	n := 4
	if network == "udp" {
		n += 2
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(host, b); err != nil {
		return err
	}
	if _, err := host.Write(b); err != nil {
		return err
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "word" {
		return fmt.Errorf("answer %q, %w", got, err)
	}
	return nil
}
