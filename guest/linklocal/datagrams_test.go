package linklocal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
)

// message is a DNS message with a number of addresses.
func message(t testing.TB, id uint16, response bool, addresses int) []byte {
	t.Helper()
	name := dnsmessage.MustNewName("kms.us-east-1.amazonaws.com.")
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, Response: response, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	for i := range addresses {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 60},
			Body:   &dnsmessage.AResource{A: [4]byte{10, 0, 0, byte(i)}},
		})
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// framed is a message on a stream.
func framed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// readFrame is the next message of a stream.
func readFrame(t *testing.T, c net.Conn) []byte {
	t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(c, head); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint16(head))
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// query sends a datagram to the DNS service.
func query(t *testing.T, n *fakeNetwork, b []byte) net.Conn {
	t.Helper()
	c, err := net.Dial("udp4", n.packets[netip.MustParseAddrPort(dnsAt)].LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	return c
}

func receive(t *testing.T, c net.Conn) []byte {
	t.Helper()
	b := make([]byte, 64<<10)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func TestDatagrams(t *testing.T) {
	n, h := newFakeNetwork(), newFakeHost()
	startFake(t, n, h, nil)
	// Two clients at once; the second is answered first.
	var clients []net.Conn
	var hosts []hostConn
	for id := range uint16(2) {
		q := message(t, id, false, 0)
		clients = append(clients, query(t, n, q))
		host := h.next(t)
		hosts = append(hosts, host)
		if host.port != ports.DNS {
			t.Errorf("port %d, want %d", host.port, ports.DNS)
		}
		if got := readFrame(t, host); !bytes.Equal(got, q) {
			t.Errorf("the Host got %x, want %x", got, q)
		}
	}
	for _, i := range []int{1, 0} {
		answer := message(t, uint16(i), true, 2)
		write(t, hosts[i], string(framed(answer)))
		if got := receive(t, clients[i]); !bytes.Equal(got, answer) {
			t.Errorf("client %d got %x, want %x", i, got, answer)
		}
	}
}

// A query is still itself when others have come before the Host could be asked.
func TestDatagramsKeptApart(t *testing.T) {
	n, h := newFakeNetwork(), newFakeHost()
	gate := make(chan struct{})
	h.gate = gate
	startFake(t, n, h, nil)
	want := map[string]bool{}
	for id := range uint16(3) {
		q := message(t, id, false, int(id))
		want[string(q)] = true
		query(t, n, q)
		select {
		case <-h.waiting:
		case <-time.After(patience):
			t.Fatal("nobody connects to the Host")
		}
	}
	close(gate)
	for range 3 {
		q := string(readFrame(t, h.next(t)))
		if !want[q] {
			t.Errorf("the Host got %x", q)
		}
		delete(want, q)
	}
}

// What does not fit in a datagram is cut off after the question, and says so.
func TestTruncated(t *testing.T) {
	n, h := newFakeNetwork(), newFakeHost()
	startFake(t, n, h, nil)
	c := query(t, n, message(t, 9, false, 0))
	host := h.next(t)
	readFrame(t, host)
	write(t, host, string(framed(message(t, 9, true, 100))))
	var m dnsmessage.Message
	if err := m.Unpack(receive(t, c)); err != nil {
		t.Fatal(err)
	}
	if !m.Truncated || m.ID != 9 || !m.Response || len(m.Questions) != 1 || len(m.Answers) != 0 {
		t.Errorf("answer %+v", m)
	}
}

// A query that comes to nothing has no answer and does no harm to the next.
func TestNoAnswer(t *testing.T) {
	n, h := newFakeNetwork(), newFakeHost()
	startFake(t, n, h, nil)
	h.fail(errFake)
	query(t, n, message(t, 1, false, 0))
	select {
	case <-h.failed:
	case <-time.After(patience):
		t.Fatal("nobody connects to the Host")
	}
	h.fail(nil)
	query(t, n, make([]byte, maxQuery+1)) // too long, and dropped
	for _, answer := range [][]byte{nil, {0}, {0, 9, 1}, framed(make([]byte, 600))} {
		query(t, n, message(t, 2, false, 0))
		host := h.next(t)
		if got := readFrame(t, host); len(got) > maxQuery {
			t.Fatalf("a query of %d bytes was passed on", len(got))
		}
		write(t, host, string(answer))
		host.Close()
	}
	c := query(t, n, message(t, 3, false, 0))
	host := h.next(t)
	readFrame(t, host)
	write(t, host, string(framed(message(t, 3, true, 1))))
	if got := receive(t, c); len(got) == 0 || got[1] != 3 {
		t.Errorf("answer %x", got)
	}
}

// A Host that says nothing holds a query up for no longer than its client waits.
func TestSilentHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go io.Copy(io.Discard, theirs)
		s := &Services{dial: func(context.Context, uint32) (net.Conn, error) { return ours, nil }}
		began := time.Now()
		_, err := (&relay{Services: s}).ask(t.Context(), message(t, 1, false, 0))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != queryTimeout {
			t.Errorf("%v after %v, want the deadline after %v", err, time.Since(began), queryTimeout)
		}
	})
}

// Datagrams over the limit are lost; those after are not.
func TestFlood(t *testing.T) {
	n, h := newFakeNetwork(), newFakeHost()
	startFake(t, n, h, nil)
	var hosts []hostConn
	for range maxQueries {
		query(t, n, message(t, 1, false, 0))
		hosts = append(hosts, h.next(t))
	}
	query(t, n, message(t, 2, false, 0))
	select {
	case <-h.asked:
		t.Fatal("a query over the limit was passed on")
	case <-time.After(50 * time.Millisecond):
	}
	for _, c := range hosts {
		c.Close()
	}
	// The places come free one by one, and until then a query is lost.
	for try := uint16(3); ; try++ {
		query(t, n, message(t, try, false, 0))
		select {
		case c := <-h.asked:
			c.Close()
			return
		case <-time.After(100 * time.Millisecond):
		}
		if try > 100 {
			t.Fatal("no query is passed on any more")
		}
	}
}

// What is left of any answer fits in a datagram and is a DNS message with the same
// id.
func FuzzTruncate(f *testing.F) {
	f.Add(message(f, 1, true, 0))
	f.Add(message(f, 2, true, 100))
	f.Add([]byte{})
	f.Add(make([]byte, 12))
	f.Add(append([]byte{0, 1, 0x80, 0, 0, 2, 0, 0, 0, 0, 0, 0}, bytes.Repeat([]byte{0, 0, 1, 0, 1}, 2)...))
	f.Add([]byte{0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0x0c, 0, 1, 0, 1}) // a pointer to itself
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := truncate(in)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(out); err != nil {
			t.Fatalf("%x: %v", out, err)
		}
		if len(out) > maxDatagram || !m.Truncated || !bytes.Equal(out[:2], in[:2]) {
			t.Errorf("%x became %x", in, out)
		}
	})
}
