package emulator

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// The security module of an enclave, without its guest: the registers are those
// of image and Host, and the document chains up to the Host's root.
func TestSecurityModule(t *testing.T) {
	const role = "arn:aws:iam::123456789012:role/x"
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name     string
		debug    bool
		encoding attestation.Encoding
		want     attestation.Encoding
		wantErr  error
	}{
		{"production", false, attestation.EncodingDefault, attestation.Encoding2025, nil},
		{"older encoding", false, attestation.Encoding2021, attestation.Encoding2021, nil},
		{"debug", true, attestation.EncodingDefault, attestation.Encoding2025, attestation.ErrDebug},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newFakeHost(t, "run", func(c *Config) {
				c.Role, c.Clock = role, func() time.Time { return now }
			})
			cfg := small(t)
			cfg.Debug, cfg.Encoding = tt.debug, tt.encoding
			im, err := openImage(t.Context(), cfg, now)
			if err != nil {
				t.Fatal(err)
			}
			defer im.Close()
			e := &Enclave{host: h.Host, parent: h.own, cfg: cfg, info: im.describe(cfg, h.InstanceID(), 7, 16), log: h.log("x")}
			module, err := e.securityModule(im, 7)
			if err != nil {
				t.Fatal(err)
			}
			request, err := wire.AppendRequest(nil, wire.Attestation{Nonce: []byte("fresh")})
			if err != nil {
				t.Fatal(err)
			}
			reply, err := wire.DecodeResponse(module.Handle(request))
			if err != nil {
				t.Fatal(err)
			}
			instance, roleOf := nsm.InstancePCR(h.InstanceID()), nsm.RolePCR(role)
			m := im.measurements
			result, err := attestation.Verify(reply.(wire.AttestationResponse).Document, attestation.Options{
				Roots: []*x509.Certificate{h.Root()}, Time: now, Nonce: []byte("fresh"),
				PCRs: map[uint][]byte{0: m.PCR0[:], 1: m.PCR1[:], 2: m.PCR2[:], 3: roleOf[:], 4: instance[:]},
			})
			if !errors.Is(err, tt.wantErr) || tt.wantErr == nil && err != nil {
				t.Fatalf("verify: %v, want %v", err, tt.wantErr)
			}
			d := result.Document
			if d.Encoding != tt.want || d.ModuleID != h.InstanceID()+"-enc0000000000000007" || !d.Time().Equal(now) {
				t.Errorf("encoding %v, module %s, time %v", d.Encoding, d.ModuleID, d.Time())
			}
			if zero := make([]byte, 48); tt.debug && (!cmp.Equal(d.PCRs[0], zero) || !cmp.Equal(d.PCRs[3], roleOf[:])) {
				t.Errorf("debug mode: PCR0 %x, PCR3 %x", d.PCRs[0], d.PCRs[3])
			}
		})
	}
}
