package qmp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// read is the client's only reader. It never waits for anything but the socket.
func (c *Client) read() {
	defer c.pumps.Done()
	rd := newReader(c.conn, c.cfg.MaxMessage)
	for {
		m, err := rd.next()
		if err == nil {
			err = c.dispatch(m)
		}
		switch {
		case err == nil:
		case errors.Is(err, ErrProtocol):
			_ = c.fail(err)
			return
		case errors.Is(err, io.EOF):
			_ = c.fail(fmt.Errorf("%w: QEMU closed the socket", ErrDisconnected))
			return
		default:
			_ = c.fail(fmt.Errorf("%w: %w", ErrDisconnected, err))
			return
		}
	}
}

// dispatch hands one message to whom it concerns.
func (c *Client) dispatch(m *message) error {
	select {
	case <-c.greeted:
	default:
		return c.greet(m)
	}
	switch {
	case m.Event != "":
		c.event(m)
		return nil
	case m.Return != nil || m.Error != nil:
		return c.reply(m)
	default:
		return fmt.Errorf("%w: message is neither event nor reply", ErrProtocol)
	}
}

func (c *Client) greet(m *message) error {
	if m.QMP == nil {
		return fmt.Errorf("%w: first message is no greeting", ErrProtocol)
	}
	// A version we cannot read costs its display only.
	_ = json.Unmarshal(m.QMP.Version, &c.greeting.Version)
	for _, raw := range m.QMP.Capabilities {
		var s string
		if json.Unmarshal(raw, &s) == nil {
			c.greeting.Capabilities = append(c.greeting.Capabilities, s)
		}
	}
	close(c.greeted)
	return nil
}

func (c *Client) event(m *message) {
	e := Event{Name: m.Event}
	if len(m.Data) > 0 && !bytes.Equal(m.Data, []byte("null")) {
		e.Data = m.Data
	}
	if t := m.Timestamp; t.Seconds > 0 {
		e.Time = time.Unix(t.Seconds, t.Microseconds*1000)
	}
	c.cfg.Log.Debug("qmp event", "name", e.Name, "data", string(e.Data))
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.subs {
		s.add(e)
	}
}

// reply gives one reply to its caller.
//
// QEMU leaves the id out of one reply only: the error for a command that it
// could not parse. As no capability is enabled, commands are answered in order,
// so that reply belongs to the oldest.
func (c *Client) reply(m *message) error {
	c.mu.Lock()
	var id uint64
	if m.ID == nil {
		if m.Error == nil {
			c.mu.Unlock()
			return fmt.Errorf("%w: reply without an id", ErrProtocol)
		}
		for k := range c.pending {
			if id == 0 || k < id {
				id = k
			}
		}
	} else if err := json.Unmarshal(m.ID, &id); err != nil {
		c.mu.Unlock()
		return fmt.Errorf("%w: reply with an id that is not ours: %w", ErrProtocol, err)
	}
	p, ok := c.pending[id]
	delete(c.pending, id)
	c.mu.Unlock()
	if !ok {
		return fmt.Errorf("%w: reply to a command that was not sent (id %d)", ErrProtocol, id)
	}
	if m.Error != nil {
		p.done <- reply{err: &Error{Command: p.name, Class: m.Error.Class, Desc: m.Error.Desc}}
		return nil
	}
	p.done <- reply{value: m.Return}
	return nil
}
