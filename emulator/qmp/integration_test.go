package qmp

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/go-qemu/qmp/raw"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/images/toolchain"
)

func TestRealQEMU(t *testing.T) {
	if testing.Short() {
		t.Skip("VM test: not part of the quick run")
	}
	tools, err := toolchain.Find(t.Context(), toolchain.Options{Parts: toolchain.PartQEMU})
	if err != nil {
		t.Fatalf("no QEMU can be started here: %v", err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	remote := os.NewFile(uintptr(fds[1]), "qemu")
	cmd := tools.QEMU.Command(t.Context(), "-M", "none", "-nodefaults", "-display", "none", "-S",
		"-chardev", "socket,id=qmp,fd=3", "-qmp", "chardev:qmp")
	cmd.ExtraFiles = []*os.File{remote}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	_ = remote.Close()
	c, err := NewFile(os.NewFile(uintptr(fds[0]), "qmp"), &Config{ConnectTimeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := c.Subscribe()
	if err := c.Connect(); err != nil {
		t.Fatal(err)
	}
	t.Logf("QEMU %s", c.Greeting().Version)

	var schema []struct {
		Name     string `json:"name"`
		MetaType string `json:"meta-type"`
	}
	if err := c.Execute(within(t), "query-qmp-schema", nil, &schema); err != nil {
		t.Fatal(err)
	}
	var commands int
	for _, e := range schema {
		if e.MetaType == "command" {
			commands++
		}
	}
	if commands < 150 {
		t.Errorf("schema of %d entries has %d commands, want 150 or more", len(schema), commands)
	}
	status, err := raw.NewMonitor(c).QueryStatus()
	if err != nil || status.Running {
		t.Errorf("status %+v, %v; want not running", status, err)
	}
	err = c.Execute(within(t), "device_del", map[string]string{"id": "nothing"}, nil)
	if !IsClass(err, ClassDeviceNotFound) {
		t.Errorf("device_del of nothing = %v, want DeviceNotFound", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := c.SendFile(within(t), "null", null); err != nil {
		t.Error(err)
	}
	if err := c.Execute(within(t), "closefd", map[string]string{"fdname": "null"}, nil); err != nil {
		t.Errorf("the file did not arrive: %v", err)
	}
	if err := c.Execute(within(t), "quit", nil, nil); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		e, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("no SHUTDOWN event: %v", err)
		}
		if e.Name == "SHUTDOWN" {
			if !strings.Contains(string(e.Data), "host-qmp-quit") {
				t.Errorf("SHUTDOWN carries %s", e.Data)
			}
			return
		}
	}
}
