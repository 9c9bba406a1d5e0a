package enclaveproc

import (
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/guest/enclaves"
	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/guest/nitrocli/wire"
	"github.com/nitrolab/nitrolab/images/eif"
)

// allowed reports whether a user may send a command: root and the one that
// started the enclave may do everything, anybody else may look
// (CommandRequesterPolicy in enclave_proc/connection.rs).
func allowed(c wire.Command, user, owner uint32) bool {
	if user == 0 || user == owner {
		return true
	}
	switch c {
	case wire.Describe, wire.GetEnclaveCID, wire.GetEnclaveFlags, wire.GetEnclaveName, wire.GetIDbyName:
		return true
	}
	return false
}

// serveClient reads one command and obeys it.
func (p *process) serveClient(conn *net.UnixConn) error {
	if err := conn.SetReadDeadline(time.Now().Add(commandTimeout)); err != nil {
		return err
	}
	c, err := wire.ReadCommand(conn)
	if err != nil {
		return err
	}
	user, err := p.cfg.PeerUID(conn)
	if err != nil {
		return fmt.Errorf("ask who sends %s: %w", c, err)
	}
	if !allowed(c, user, p.owner) {
		p.cfg.Log.Warn("command refused", "command", c, "user", user)
		return send(conn, func() error {
			text := fmt.Sprintf("Enclave %s belongs to user %d; user %d may not terminate it.\n", p.e.id, p.owner, user)
			if err := wire.WriteStderr(conn, text); err != nil {
				return err
			}
			return wire.WriteStatus(conn, int32(unix.EACCES))
		})
	}
	switch c {
	case wire.Terminate:
		return p.serveTerminate(conn)
	case wire.Describe:
		return p.serveDescribe(conn)
	case wire.GetEnclaveCID:
		return send(conn, func() error { return wire.WriteUint64(conn, p.e.cid) })
	case wire.GetEnclaveFlags:
		var flags uint64
		if p.e.args.DebugMode {
			flags |= enclaves.DebugMode
		}
		return send(conn, func() error { return wire.WriteUint64(conn, flags) })
	case wire.GetEnclaveName:
		if err := confirm(conn); err != nil {
			return err
		}
		return replyJSON(conn, p.e.name)
	case wire.GetIDbyName:
		return p.serveIDByName(conn)
	}
	// Run, as this process has its enclave.
	return send(conn, func() error { return wire.WriteStatus(conn, int32(unix.EEXIST)) })
}

// confirm tells the client that this process is alive and will answer.
func confirm(conn net.Conn) error {
	return send(conn, func() error { return wire.WriteUint64(conn, wire.Confirm) })
}

// serveIDByName answers with the ID if the name is the enclave's, and with no
// text if it is not.
func (p *process) serveIDByName(conn net.Conn) error {
	if err := confirm(conn); err != nil {
		return err
	}
	name, err := wire.ReadArgs[string](conn)
	if err != nil {
		return err
	}
	if name == p.e.name {
		return replyJSON(conn, p.e.id)
	}
	return send(conn, func() error { return wire.WriteStatus(conn, 0) })
}

// serveTerminate ends the enclave, which lets Serve return once this has been
// answered.
func (p *process) serveTerminate(conn net.Conn) error {
	id := p.e.id
	if err := p.terminate(); err != nil {
		return send(conn, func() error {
			text := fmt.Sprintf("Warning: Failed to stop enclave %s\n%s\n", id, failure.Message(err, false))
			if err := wire.WriteStderr(conn, text); err != nil {
				return err
			}
			return wire.WriteStatus(conn, int32(unix.EINVAL))
		})
	}
	// Before the client hears of it: what it asks next must not find this
	// process.
	if err := p.socket.close(); err != nil {
		p.cfg.Log.Error("close socket", "error", err)
	}
	err := send(conn, func() error {
		return wire.WriteStderr(conn, fmt.Sprintf("Successfully terminated enclave %s.\n", id))
	})
	if err != nil {
		return err
	}
	return replyJSON(conn, TerminateInfo{EnclaveName: p.e.name, EnclaveID: id, Terminated: true})
}

func (p *process) serveDescribe(conn net.Conn) error {
	args, err := wire.ReadArgs[wire.DescribeArgs](conn)
	if err != nil {
		return err
	}
	if err := confirm(conn); err != nil {
		return err
	}
	m, err := p.measured.wait()
	if err != nil {
		// nitro-cli's process would end here, and the enclave with it.
		err = send(conn, func() error { return wire.WriteStderr(conn, failure.Message(err, false)+"\n") })
		if err != nil {
			return err
		}
	}
	return replyJSON(conn, p.describe(m, args.Metadata))
}

// describe is what describe-enclaves prints. m is nil if there is none.
func (p *process) describe(m *measurement, metadata bool) DescribeInfo {
	p.mu.Lock()
	state := p.state
	p.mu.Unlock()
	e := p.e
	d := DescribeInfo{
		EnclaveName: e.name, EnclaveID: e.id, ProcessID: os.Getpid(), EnclaveCID: e.cid,
		NumberOfCPUs: len(e.cpus), CPUIDs: e.cpus, MemoryMiB: e.size >> 20,
		State: state, Flags: flagsText(e.args.DebugMode),
	}
	if m == nil {
		return d
	}
	d.Measurements = &m.measurements
	if metadata && m.metadata != nil {
		d.ImageName, d.ImageVersion = m.metadata.ImageName, m.metadata.ImageVersion
		if b := m.metadata.Build; b != nil {
			d.Metadata = &eif.MetadataInfo{
				BuildMetadata: *b, DockerInfo: m.metadata.DockerInfo, CustomMetadata: m.metadata.CustomMetadata,
			}
		}
	}
	return d
}
