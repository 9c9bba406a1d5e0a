package nsmpipe_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/nsmpipe"
	"github.com/nitrolab/nitrolab/devices/nsm/nsmtest"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// driver does what the Linux driver does before the module sees a request.
func driver(t testing.TB) nsmtest.Func {
	t.Helper()
	d, err := nsm.New(nsm.Config{ModuleID: "i-0-enc0", Attester: nsmtest.Unsigned{}})
	if err != nil {
		t.Fatal(err)
	}
	return func(req []byte) ([]byte, error) {
		if len(req) > wire.MaxRequest {
			return nil, fmt.Errorf("ioctl: %w", syscall.EMSGSIZE)
		}
		return d.Handle(req), nil
	}
}

// pipe is a client of a Serve over do.
func pipe(t *testing.T, do nsmtest.Func) *nsmpipe.Client {
	t.Helper()
	host, guest := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- nsmpipe.Serve(guest, guest, do) }()
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return nsmpipe.NewClient(host, host)
}

func TestConformanceThroughPipe(t *testing.T) {
	nsmtest.Run(t, pipe(t, driver(t)).Raw, append(nsmtest.Sequence(), nsmtest.Empty()))
}

func TestDriverRefusal(t *testing.T) {
	c := pipe(t, driver(t))
	if _, err := c.Raw(make([]byte, wire.MaxRequest+1)); err != syscall.EMSGSIZE {
		t.Errorf("got %v, want EMSGSIZE", err)
	}
	if reply, err := c.Raw([]byte("\x69GetRandom")); err != nil || len(reply) < 256 {
		t.Errorf("request after a refusal: %d bytes, %v", len(reply), err)
	}
}

func TestRequestTooLongForThePipe(t *testing.T) {
	c := pipe(t, driver(t))
	var errno syscall.Errno
	if _, err := c.Raw(make([]byte, nsmpipe.MaxRequest+1)); err == nil || errors.As(err, &errno) {
		t.Errorf("got %v, want an error that is not the driver's", err)
	}
	if _, err := c.Raw(make([]byte, nsmpipe.MaxRequest)); err != syscall.EMSGSIZE {
		t.Errorf("longest request: got %v, want EMSGSIZE", err)
	}
}

// frame is a frame as the package comment describes it.
func frame(b string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(b)))) + b
}

func TestServeBytes(t *testing.T) {
	do := func(req []byte) ([]byte, error) {
		switch string(req) {
		case "refuse":
			return nil, syscall.EMSGSIZE
		case "fail":
			return nil, io.ErrClosedPipe
		case "long":
			return make([]byte, wire.MaxResponse+1), nil
		}
		return append([]byte("re:"), req...), nil
	}
	for _, tt := range []struct {
		name, in, out string
		want          error // nil, or what the error wraps; errAny
	}{
		{"nothing", "", "", nil},
		{"one", frame("a"), frame("\x00re:a"), nil},
		{"empty", frame(""), frame("\x00re:"), nil},
		{"errno", frame("refuse") + frame("b"), frame("\x01\x00\x00\x00\x5a") + frame("\x00re:b"), nil},
		{"do fails", frame("a") + frame("fail"), frame("\x00re:a"), io.ErrClosedPipe},
		{"reply too long", frame("long"), "", errAny},
		{"ends in a length", "\x00\x00", "", nsmpipe.ErrFrame},
		{"ends after a length", "\x00\x00\x00\x01", "", nsmpipe.ErrFrame},
		{"ends in a frame", frame("abc")[:6], "", nsmpipe.ErrFrame},
		{"too long", "\x00\x01\x00\x01" + strings.Repeat("x", nsmpipe.MaxRequest+1), "", nsmpipe.ErrFrame},
		{"length of 4 GiB", "\xff\xff\xff\xff", "", nsmpipe.ErrFrame},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			err := nsmpipe.Serve(iotest.OneByteReader(strings.NewReader(tt.in)), &out, do)
			if tt.want == errAny && err == nil || tt.want != errAny && !errors.Is(err, tt.want) {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
			if out.String() != tt.out {
				t.Errorf("wrote %q, want %q", out.String(), tt.out)
			}
		})
	}
}

var errAny = errors.New("any error")

func TestServeReportsAStreamThatFails(t *testing.T) {
	do := func(req []byte) ([]byte, error) { return req, nil }
	if err := nsmpipe.Serve(iotest.ErrReader(syscall.EIO), io.Discard, do); !errors.Is(err, syscall.EIO) {
		t.Errorf("read: got %v, want EIO", err)
	}
	r, w := io.Pipe()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := nsmpipe.Serve(strings.NewReader(frame("a")), w, do); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write: got %v, want ErrClosedPipe", err)
	}
}

// A client whose stream went wrong stays broken: a later reply could be that to
// an earlier request.
func TestClientRefusesMalformedReplies(t *testing.T) {
	for _, tt := range []struct {
		name, reply string
		want        error
	}{
		{"no reply", "", io.ErrUnexpectedEOF},
		{"half a reply", frame("\x00abc")[:6], nsmpipe.ErrFrame},
		{"no status", frame(""), nsmpipe.ErrFrame},
		{"unknown status", frame("\x02abc"), nsmpipe.ErrFrame},
		{"errno 0", frame("\x01\x00\x00\x00\x00"), nsmpipe.ErrFrame},
		{"errno of 3 bytes", frame("\x01\x00\x00\x5a"), nsmpipe.ErrFrame},
		{"errno of 5 bytes", frame("\x01\x00\x00\x00\x5a\x00"), nsmpipe.ErrFrame},
		{"reply too long", frame("\x00" + strings.Repeat("x", wire.MaxResponse+1)), nsmpipe.ErrFrame},
		{"console noise", "[    0.1] Linux", nsmpipe.ErrFrame},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := nsmpipe.NewClient(strings.NewReader(tt.reply+frame("\x00ok")), io.Discard)
			if tt.name == "no reply" || tt.name == "half a reply" {
				c = nsmpipe.NewClient(strings.NewReader(tt.reply), io.Discard)
			}
			_, first := c.Raw([]byte("x"))
			if !errors.Is(first, tt.want) {
				t.Errorf("got %v, want %v", first, tt.want)
			}
			if _, err := c.Raw([]byte("x")); err != first {
				t.Errorf("second request: got %v, want %v again", err, first)
			}
		})
	}
}

func TestClientReplyIsTheCallers(t *testing.T) {
	c := nsmpipe.NewClient(strings.NewReader(frame("\x00first")+frame("\x00other")), io.Discard)
	first, err := c.Raw(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Raw(nil); err != nil {
		t.Fatal(err)
	}
	if string(first) != "first" {
		t.Errorf("first reply became %q", first)
	}
}

// FuzzPipe feeds both ends the same bytes. What Serve writes must be frames that
// a client understands, one for each request.
func FuzzPipe(f *testing.F) {
	f.Add([]byte(frame("\x69GetRandom") + frame("")))
	f.Add([]byte(frame("\x00reply") + frame("\x01\x00\x00\x00\x5a") + frame("\x02")))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte(frame(strings.Repeat("x", 4097))))
	do := driver(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		c := nsmpipe.NewClient(bytes.NewReader(b), io.Discard)
		for range 4 {
			if reply, err := c.Raw(nil); err == nil && len(reply) > wire.MaxResponse {
				t.Fatalf("reply of %d bytes", len(reply))
			}
		}
		var out bytes.Buffer
		requests := 0
		err := nsmpipe.Serve(bytes.NewReader(b), &out, func(req []byte) ([]byte, error) {
			requests++
			return do(req)
		})
		if err != nil && !errors.Is(err, nsmpipe.ErrFrame) {
			t.Fatal(err)
		}
		c = nsmpipe.NewClient(&out, io.Discard)
		for range requests {
			if _, err := c.Raw(nil); err != nil && err != syscall.EMSGSIZE {
				t.Fatalf("Serve wrote what a client does not read: %v", err)
			}
		}
		if out.Len() != 0 {
			t.Fatalf("%d bytes more than %d replies", out.Len(), requests)
		}
	})
}
