package qmp

import (
	"errors"
	"testing"

	goqemu "github.com/digitalocean/go-qemu/qmp"
	"github.com/digitalocean/go-qemu/qmp/qmptest"
	"github.com/digitalocean/go-qemu/qmp/raw"
	"github.com/google/go-cmp/cmp"
)

func TestRun(t *testing.T) {
	tests := []struct {
		name, command, value, want string
	}{
		{"plain", `{"execute": "query-status"}`, `{"running": true}`, `{"return":{"running":true}}`},
		{"own id", `{"execute": "query-status", "id": "abc"}`, `{}`, `{"return":{},"id":"abc"}`},
		{"id of any type", `{"execute": "query-status", "id": [1]}`, `null`, `{"return":null,"id":[1]}`},
		{"arguments", `{"execute": "qom-get", "arguments": {"path": "/"}}`, `1`, `{"return":1}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, p := connected(t, nil)
			go func() {
				cmd, _ := p.next()
				p.answer(cmd, tt.value)
			}()
			got, err := c.Run([]byte(tt.command))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("reply (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRunRefusesWhatIsNoCommand(t *testing.T) {
	c, _ := connected(t, nil)
	for _, in := range []string{"", "{}", "[]", `{"execute": 1}`, "{", `{"execute": "a"} {"execute": "b"}`} {
		if out, err := c.Run([]byte(in)); err == nil {
			t.Errorf("Run(%q) = %s, want an error", in, out)
		}
	}
}

// TestRawMonitor runs go-qemu's generated calls over the client.
func TestRawMonitor(t *testing.T) {
	c, p := connected(t, nil)
	go func() {
		for {
			cmd, ok := p.next()
			if !ok {
				return
			}
			switch cmd.Execute {
			case "query-status":
				p.send(`{"event": "RESUME"}` + "\n")
				p.answer(cmd, `{"status": "internal-error", "running": false, "singlestep": false}`)
			default:
				p.send(`{"error": {"class": "CommandNotFound", "desc": "The command has not been found"}, "id": ` + string(cmd.ID) + `}`)
			}
		}
	}()
	m := raw.NewMonitor(c)
	got, err := m.QueryStatus()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(raw.StatusInfo{Status: raw.RunStateInternalError}, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if err := m.Stop(); !IsClass(err, ClassCommandNotFound) {
		t.Errorf("Stop() = %v, want CommandNotFound", err)
	}
}

// TestFakeMonitor: code that takes a Monitor is tested with qmptest in place of
// a Client.
func TestFakeMonitor(t *testing.T) {
	status := func(m goqemu.Monitor) (raw.RunState, error) {
		s, err := raw.NewMonitor(m).QueryStatus()
		return s.Status, err
	}
	fake := qmptest.NewMonitor(func(cmd goqemu.Command) (any, error) {
		if cmd.Execute != "query-status" {
			return nil, errors.New("unexpected " + cmd.Execute)
		}
		return map[string]any{"return": map[string]any{"status": "running", "running": true}}, nil
	})
	c, p := connected(t, nil)
	go func() {
		cmd, _ := p.next()
		p.answer(cmd, `{"status": "running", "running": true}`)
	}()
	for name, m := range map[string]goqemu.Monitor{"fake": fake, "client": c} {
		got, err := status(m)
		if err != nil || got != raw.RunStateRunning {
			t.Errorf("%s: status %v, %v; want running", name, got, err)
		}
	}
}
