package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
)

// frame is one message with the given body.
func frame(body []byte) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(body))), body...)
}

func encoded(t testing.TB, v any) []byte {
	t.Helper()
	b, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return frame(b)
}

// Bytes as serde and ciborium of AWS's nitro-cli write them, put together by hand
// from their rules: a unit variant is its name, a variant with a value is a map
// of one, a struct is a map of its fields, an Option is the value or null.
func TestBytes(t *testing.T) {
	name := "app"
	count := uint32(2)
	tests := []struct {
		name  string
		write func(io.Writer) error
		want  string // hexadecimal, of the bodies with their lengths
	}{
		{
			"terminate", func(w io.Writer) error { return Send(w, Terminate, nil) },
			"0a00000000000000" + "69" + hex.EncodeToString([]byte("Terminate")) +
				"0a00000000000000" + "69" + hex.EncodeToString([]byte("Terminate")),
		},
		{
			"describe", func(w io.Writer) error { return Send(w, Describe, DescribeArgs{Metadata: true}) },
			"0900000000000000" + "68" + hex.EncodeToString([]byte("Describe")) +
				"0900000000000000" + "68" + hex.EncodeToString([]byte("Describe")) +
				"0b00000000000000" + "a1" + "68" + hex.EncodeToString([]byte("metadata")) + "f5",
		},
		{
			"run", func(w io.Writer) error {
				return writeFrame(w, RunArgs{EIFPath: "a", MemoryMiB: 512, CPUCount: &count, EnclaveName: &name})
			},
			"6800000000000000" + "a8" +
				"68" + hex.EncodeToString([]byte("eif_path")) + "6161" +
				"6b" + hex.EncodeToString([]byte("enclave_cid")) + "f6" +
				"6a" + hex.EncodeToString([]byte("memory_mib")) + "190200" +
				"67" + hex.EncodeToString([]byte("cpu_ids")) + "f6" +
				"6a" + hex.EncodeToString([]byte("debug_mode")) + "f4" +
				"6e" + hex.EncodeToString([]byte("attach_console")) + "f4" +
				"69" + hex.EncodeToString([]byte("cpu_count")) + "02" +
				"6c" + hex.EncodeToString([]byte("enclave_name")) + "63" + hex.EncodeToString([]byte("app")),
		},
		{
			"stdout", func(w io.Writer) error { return WriteStdout(w, "hi") },
			"1200000000000000" + "a1" + "6d" + hex.EncodeToString([]byte("StdOutMessage")) + "626869",
		},
		{
			"stderr", func(w io.Writer) error { return WriteStderr(w, "hi") },
			"1200000000000000" + "a1" + "6d" + hex.EncodeToString([]byte("StdErrMessage")) + "626869",
		},
		{
			"status", func(w io.Writer) error { return WriteStatus(w, 22) },
			"0900000000000000" + "a1" + "66" + hex.EncodeToString([]byte("Status")) + "16",
		},
		{"confirm", func(w io.Writer) error { return WriteUint64(w, Confirm) }, "c0ee000000000000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := tt.write(&b); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, hex.EncodeToString(b.Bytes())); diff != "" {
				t.Errorf("bytes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCommandRoundTrip(t *testing.T) {
	cid, count, name := uint64(17), uint32(2), "app"
	var b bytes.Buffer
	want := RunArgs{EIFPath: "/a.eif", EnclaveCID: &cid, MemoryMiB: 512, CPUIDs: []uint32{1, 3}, DebugMode: true, AttachConsole: true, CPUCount: &count, EnclaveName: &name}
	if err := Send(&b, Run, want); err != nil {
		t.Fatal(err)
	}
	c, err := ReadCommand(&b)
	if err != nil || c != Run {
		t.Fatalf("command %q, error %v", c, err)
	}
	got, err := ReadArgs[RunArgs](&b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	for _, c := range commands {
		b.Reset()
		if err := Send(&b, c, nil); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadCommand(&b); got != c || err != nil {
			t.Errorf("%s: got %q, error %v", c, got, err)
		}
	}
	if err := Send(&b, GetIDbyName, "app"); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCommand(&b); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadArgs[string](&b); got != "app" || err != nil {
		t.Errorf("name %q, error %v", got, err)
	}
}

func TestReadCommandRefuses(t *testing.T) {
	text := func(s string) []byte { return encoded(t, s) }
	tests := []struct {
		name string
		in   []byte
		err  error
	}{
		{"nothing", nil, io.EOF},
		{"half a length", []byte{1, 0}, io.ErrUnexpectedEOF},
		{"half a command", text("Describe")[:12], io.ErrUnexpectedEOF},
		{"one copy", text("Describe"), io.EOF},
		{"two commands", bytes.Join([][]byte{text("Describe"), text("Terminate")}, nil), ErrProtocol},
		{"unknown", bytes.Repeat(text("Destroy"), 2), ErrProtocol},
		{"other case", bytes.Repeat(text("describe"), 2), ErrProtocol},
		{"internal", bytes.Repeat(text("TerminateComplete"), 2), ErrProtocol},
		{"internal", bytes.Repeat(text("ConnectionListenerStop"), 2), ErrProtocol},
		{"internal", bytes.Repeat(text("NotPermitted"), 2), ErrProtocol},
		{"empty message", bytes.Repeat(frame(nil), 2), ErrProtocol},
		{"number", encoded(t, 7), ErrProtocol},
		{"long", text(strings.Repeat("x", MaxCommand)), ErrProtocol},
		{"length that no memory has", bytes.Repeat([]byte{0xff}, 8), ErrProtocol},
		{"no CBOR", frame([]byte{0xff}), ErrProtocol},
		{"trailing bytes", frame(append(encoded(t, "Describe")[8:], 0)), ErrProtocol},
		{"invalid UTF-8", frame([]byte{0x61, 0xff}), ErrProtocol},
		{"indefinite length", frame([]byte{0x7f, 0x61, 0x61, 0xff}), ErrProtocol},
		{"tag", frame(append([]byte{0xc1}, encoded(t, "Describe")[8:]...)), ErrProtocol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if c, err := ReadCommand(bytes.NewReader(tt.in)); !errors.Is(err, tt.err) || c != "" {
				t.Errorf("command %q, error %v, want %v", c, err, tt.err)
			}
		})
	}
}

func TestReadArgsRefuses(t *testing.T) {
	tests := []struct {
		name string
		in   any
	}{
		{"negative memory", map[string]any{"eif_path": "a", "memory_mib": -1}},
		{"text for a number", map[string]any{"memory_mib": "512"}},
		{"CPU of 33 bits", map[string]any{"cpu_ids": []uint64{1 << 32}}},
		{"many CPUs", map[string]any{"cpu_ids": make([]uint32, 5000)}},
		{"nested", map[string]any{"cpu_ids": []any{[]any{[]any{[]any{1}}}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := ReadArgs[RunArgs](bytes.NewReader(encoded(t, tt.in))); !errors.Is(err, ErrProtocol) {
				t.Errorf("arguments %+v, error %v", got, err)
			}
		})
	}
}

func TestReplies(t *testing.T) {
	var b bytes.Buffer
	for _, err := range []error{WriteStderr(&b, "working\n"), WriteStdout(&b, "{}"), WriteStatus(&b, -1), WriteStdout(&b, "")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	minus := int32(-1)
	for _, want := range []Reply{{Stderr: "working\n"}, {Stdout: "{}"}, {Status: &minus}, {}} {
		got, err := ReadReply(&b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reply (-want +got):\n%s", diff)
		}
	}
	if _, err := ReadReply(&b); !errors.Is(err, io.EOF) {
		t.Errorf("after the last one: %v, want EOF", err)
	}
	for name, in := range map[string]any{
		"of no kind":     map[string]any{},
		"of two kinds":   map[string]any{"Status": 0, "StdOutMessage": "x"},
		"another kind":   map[string]any{"Other": 0},
		"text":           "Status",
		"status of text": map[string]any{"Status": "0"},
		"wide status":    map[string]any{"Status": int64(1) << 32},
	} {
		if r, err := ReadReply(bytes.NewReader(encoded(t, in))); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: reply %+v, error %v", name, r, err)
		}
	}
}

// A length alone takes no memory.
func TestNoMemoryForALength(t *testing.T) {
	in := binary.LittleEndian.AppendUint64(nil, MaxReply)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := ReadReply(bytes.NewReader(in)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were taken for a message that never came", n)
	}
}

// FuzzServer reads what a client may send to a process: a command and its
// arguments.
func FuzzServer(f *testing.F) {
	cid := uint64(4)
	for _, c := range commands {
		for _, args := range []any{nil, RunArgs{EIFPath: "a", EnclaveCID: &cid, CPUIDs: []uint32{1}}, DescribeArgs{Metadata: true}, "name"} {
			var b bytes.Buffer
			if err := Send(&b, c, args); err != nil {
				f.Fatal(err)
			}
			f.Add(b.Bytes())
		}
	}
	f.Add(bytes.Repeat([]byte{0xff}, 16))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		c, err := ReadCommand(r)
		if err != nil {
			if c != "" {
				t.Fatalf("command %q and error %v", c, err)
			}
			return
		}
		switch c {
		case Run:
			if a, err := ReadArgs[RunArgs](r); err == nil && len(a.CPUIDs) > 4096 {
				t.Fatalf("%d CPUs", len(a.CPUIDs))
			}
		case Describe:
			_, _ = ReadArgs[DescribeArgs](r)
		case GetIDbyName:
			_, _ = ReadArgs[string](r)
		}
	})
}

// FuzzClient reads what a process may send to a client.
func FuzzClient(f *testing.F) {
	var b bytes.Buffer
	for _, err := range []error{WriteStderr(&b, "x"), WriteStdout(&b, "{}"), WriteStatus(&b, 0)} {
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Add(b.Bytes())
	f.Add(bytes.Repeat([]byte{0xff}, 16))
	f.Add(frame([]byte{0xa1, 0x66, 'S', 't', 'a', 't', 'u', 's', 0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		for {
			before := r.Len()
			reply, err := ReadReply(r)
			if err != nil {
				return
			}
			if r.Len() >= before {
				t.Fatalf("reply %+v of no bytes", reply)
			}
			if reply.Status != nil && (reply.Stdout != "" || reply.Stderr != "") {
				t.Fatalf("reply %+v of two kinds", reply)
			}
		}
	})
}
