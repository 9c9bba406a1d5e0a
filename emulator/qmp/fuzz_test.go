package qmp

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"testing"
	"time"
)

// FuzzReader feeds the reader a peer's stream: it must end, and hand out only
// messages that fit the limit.
func FuzzReader(f *testing.F) {
	f.Add([]byte(testGreeting))
	f.Add([]byte(`{"return": {}, "id": 1}` + "\r\n" + `{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}}`))
	f.Add([]byte(`{"error": {"class": "GenericError", "desc": "x"}, "id": 1}`))
	f.Add([]byte("{\n    \"return\": {\n    }\n}\n"))
	f.Add([]byte(`{"return": "` + string(bytes.Repeat([]byte("x"), 2000))))
	f.Add([]byte(`[[[[[[[[`))
	f.Add([]byte(`{"id": 1e999, "return": null}`))
	f.Add([]byte("\xef\xbb\xbf{}"))
	const limit = 1024
	f.Fuzz(func(t *testing.T, in []byte) {
		rd := newReader(bytes.NewReader(in), limit)
		var total int
		for {
			m, err := rd.next()
			if err != nil {
				break
			}
			n := len(m.ID) + len(m.Return) + len(m.Data)
			if total += n; n > 2*limit || total > len(in) {
				t.Fatalf("message of %d bytes, %d in all, from %d bytes", n, total, len(in))
			}
			for _, raw := range []json.RawMessage{m.ID, m.Return, m.Data} {
				if raw != nil && !json.Valid(raw) {
					t.Fatalf("%q is not JSON", raw)
				}
			}
		}
	})
}

// FuzzClient plays any stream to a client with calls under way: every call must
// return, and Close must join everything.
func FuzzClient(f *testing.F) {
	f.Add([]byte(testGreeting + `{"return": {}, "id": 1}{"return": {}, "id": 2}{"event": "SHUTDOWN"}`))
	f.Add([]byte(testGreeting + `{"return": {}, "id": 1}{"error": {"class": "GenericError"}}`))
	f.Add([]byte(testGreeting + `{"return": {}, "id": 2}`))
	f.Add([]byte(testGreeting + testGreeting))
	f.Add([]byte(`{"event": "STOP"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, b := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, b) }()
		go func() {
			_, _ = b.Write(in)
			_ = b.Close()
		}()
		c := New(a, &Config{MaxMessage: 4096, MaxEvents: 4})
		events, err := c.Events(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if c.ConnectContext(ctx) == nil {
			_ = c.Execute(ctx, "query-status", nil, nil)
			_, _ = c.RunContext(ctx, []byte(`{"execute": "stop"}`))
		}
		if ctx.Err() != nil {
			t.Fatal("a call hung")
		}
		_ = c.Close()
		for range events {
		}
	})
}
