package nsm_test

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	devnsm "github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/nsmtest"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/guest/nsm"
)

// module is a device model behind what the Linux driver checks.
func module(t testing.TB) nsm.Transport {
	t.Helper()
	d, err := devnsm.New(devnsm.Config{
		ModuleID:     "i-0-enc0",
		Measurements: devnsm.Measurements{devnsm.PCRImage: {7}},
		Attester:     nsmtest.Unsigned{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return nsm.TransportFunc(func(req []byte) ([]byte, error) {
		if len(req) > wire.MaxRequest {
			return nil, syscall.EMSGSIZE
		}
		return d.Handle(req), nil
	})
}

func TestConformanceThroughSession(t *testing.T) {
	nsmtest.Run(t, nsm.New(module(t)).Raw, nsmtest.Sequence())
}

func TestPCRs(t *testing.T) {
	s := nsm.New(module(t))
	var bank devnsm.Bank
	want, err := bank.Extend(16, []byte("data"))
	if err != nil {
		t.Fatal(err)
	}

	if got, err := s.ExtendPCR(16, []byte("data")); err != nil || got != want {
		t.Errorf("ExtendPCR: %x, %v; want %x", got, err, want)
	}
	if err := s.LockPCR(16); err != nil {
		t.Errorf("LockPCR: %v", err)
	}
	if err := s.LockPCR(16); !errors.Is(err, wire.ReadOnlyIndex) {
		t.Errorf("LockPCR again: %v, want ReadOnlyIndex", err)
	}
	got, err := s.DescribePCR(16)
	if err != nil {
		t.Errorf("DescribePCR: %v", err)
	}
	if d := cmp.Diff(wire.DescribePCRResponse{Lock: true, Data: want}, got); d != "" {
		t.Errorf("DescribePCR (-want +got):\n%s", d)
	}
	if err := s.LockPCRs(18); err != nil {
		t.Errorf("LockPCRs: %v", err)
	}
	if err := s.LockPCRs(33); !errors.Is(err, wire.InvalidIndex) {
		t.Errorf("LockPCRs 33: %v, want InvalidIndex", err)
	}
	info, err := s.DescribeNSM()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(info.LockedPCRs); n != 18 || info.ModuleID != "i-0-enc0" || info.MaxPCRs != 32 {
		t.Errorf("DescribeNSM: %+v", info)
	}
	if _, err := s.ExtendPCR(18, nil); err != nil {
		t.Errorf("ExtendPCR without data: %v", err)
	}
}

func TestAttest(t *testing.T) {
	s := nsm.New(module(t))
	doc, err := s.Attest(wire.Attestation{Nonce: []byte("nonce"), UserData: []byte{}})
	if err != nil {
		t.Fatal(err)
	}
	reply, err := wire.AppendResponse(nil, wire.AttestationResponse{Document: doc})
	if err != nil {
		t.Fatal(err)
	}
	want := nsmtest.Document{Locked: 16, PCRs: map[uint16]wire.PCR{0: {7}}, Nonce: []byte("nonce"), UserData: []byte{}}
	if err := want.Check(reply); err != nil {
		t.Error(err)
	}
	_, err = s.Attest(wire.Attestation{Nonce: make([]byte, wire.MaxRequest)})
	if !errors.Is(err, wire.InputTooLarge) || !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("nonce of 4096 bytes: %v, want InputTooLarge and EMSGSIZE", err)
	}
}

// replies is a module that answers from a list.
func replies(list ...[]byte) nsm.Transport {
	return nsm.TransportFunc(func([]byte) ([]byte, error) {
		if len(list) == 0 {
			return nil, syscall.ETIMEDOUT
		}
		reply := list[0]
		list = list[1:]
		return reply, nil
	})
}

func random(t *testing.T, b []byte) []byte {
	t.Helper()
	reply, err := wire.AppendResponse(nil, wire.GetRandomResponse{Random: b})
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func TestRead(t *testing.T) {
	a, b := bytes.Repeat([]byte{1}, 256), bytes.Repeat([]byte{2}, 256)
	for _, tt := range []struct {
		name    string
		from    nsm.Transport
		n       int
		want    []byte
		wantErr error
	}{
		{"nothing", replies(), 0, []byte{}, nil},
		{"part of a reply", replies(random(t, a)), 3, a[:3], nil},
		{"two replies", replies(random(t, a), random(t, b)), 300, append(bytes.Clone(a), b[:44]...), nil},
		{"driver fails later", replies(random(t, a)), 300, a, syscall.ETIMEDOUT},
		{"module gives nothing", replies(random(t, nil)), 1, []byte{}, io.ErrNoProgress},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := make([]byte, tt.n)
			n, err := nsm.New(tt.from).Read(p)
			if !errors.Is(err, tt.wantErr) {
				t.Errorf("got error %v, want %v", err, tt.wantErr)
			}
			if !bytes.Equal(p[:n], tt.want) {
				t.Errorf("got %x, want %x", p[:n], tt.want)
			}
		})
	}
}

func TestRepliesOfAnotherKind(t *testing.T) {
	s := nsm.New(replies(random(t, make([]byte, 32)), []byte("\xff"), nil))
	if _, err := s.DescribeNSM(); !errors.Is(err, wire.InvalidResponse) {
		t.Errorf("reply to GetRandom: %v, want InvalidResponse", err)
	}
	if err := s.LockPCR(1); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("no CBOR: %v, want ErrMalformed", err)
	}
	// What the driver returns for a buffer that had no room for any reply.
	if _, err := s.GetRandom(); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("empty reply: %v, want ErrMalformed", err)
	}
	if _, err := s.GetRandom(); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("driver: %v, want ETIMEDOUT", err)
	}
}
