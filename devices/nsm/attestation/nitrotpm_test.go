package attestation

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tpmRegisters are those of a TPM after a boot: some extended, most zero.
func tpmRegisters() map[uint][]byte {
	pcrs := make(map[uint][]byte)
	for i := range uint(maxTPMPCRs) {
		pcrs[i] = make([]byte, pcrSize)
	}
	for _, i := range []uint{4, 7, 12} {
		pcrs[i] = pcr(CheckPCR(i))
	}
	return pcrs
}

// TestNitroTPM: a document of a TPM is accepted where one is wanted, by its own
// registers, and zeros are no debug mode there.
func TestNitroTPM(t *testing.T) {
	for _, encoding := range []Encoding{Encoding2025, Encoding2021} {
		t.Run(encoding.String(), func(t *testing.T) {
			a := newTestAuthority(t, Config{})
			pcrs := tpmRegisters()
			raw := newTestDocument(t, newTestIssuer(t, a), Claims{NitroTPM: true, PCRs: pcrs, Nonce: []byte("nonce"), Encoding: encoding})
			if !bytes.Contains(raw, []byte("nitrotpm_pcrs")) || bytes.Contains(raw, []byte("\x64pcrs")) {
				t.Error("its registers are not in nitrotpm_pcrs alone")
			}
			opts := policy(a.Root())
			opts.NitroTPM, opts.Nonce = true, []byte("nonce")
			opts.PCRs = map[uint][]byte{0: pcrs[0], 4: pcrs[4], 7: pcrs[7]}
			r, err := Verify(raw, opts)
			if err != nil {
				t.Fatal(err)
			}
			if !r.Document.NitroTPM {
				t.Error("the document does not say that it is a TPM's")
			}
			if diff := cmp.Diff(pcrs, r.Document.PCRs); diff != "" {
				t.Error(diff)
			}
			opts.PCRs[4] = pcr("another")
			if r, err := Verify(raw, opts); err == nil || !cmp.Equal(failures(r), []string{CheckPCR(4)}) {
				t.Errorf("another PCR4: %v", err)
			}
		})
	}
}

// TestOtherKind: neither kind passes for the other, though chain, signature and
// register values are right.
func TestOtherKind(t *testing.T) {
	a := newTestAuthority(t, Config{})
	i := newTestIssuer(t, a)
	pcrs := map[uint][]byte{0: pcr("0"), 1: pcr("1"), 2: pcr("2")}
	for _, tpm := range []bool{false, true} {
		raw := newTestDocument(t, i, Claims{NitroTPM: tpm, PCRs: pcrs})
		opts := Options{Roots: policy(a.Root()).Roots, PCRs: pcrs, Time: t0.Add(time.Second), NitroTPM: tpm}
		if _, err := Verify(raw, opts); err != nil {
			t.Errorf("NitroTPM %v: its own kind is refused: %v", tpm, err)
		}
		opts.NitroTPM = !tpm
		r, err := Verify(raw, opts)
		if !errors.Is(err, ErrFormat) || !cmp.Equal(failures(r), []string{CheckFormat}) {
			t.Errorf("NitroTPM %v: the other kind: %v", tpm, err)
		}
	}
}

// TestMixedKinds: registers of both kinds, and more than a TPM has, are no document.
func TestMixedKinds(t *testing.T) {
	i := newTestIssuer(t, newTestAuthority(t, Config{}))
	doc, err := Parse(newTestDocument(t, i, Claims{NitroTPM: true, PCRs: map[uint][]byte{23: pcr("23")}}))
	if err != nil {
		t.Fatal(err)
	}
	register := "\x58\x30" + strings.Repeat("\x01", pcrSize)
	for _, tt := range []struct{ name, members, want string }{
		{"a TPM's", "\x6dnitrotpm_pcrs\xa1\x17" + register, ""},
		{"both kinds", "\x6dnitrotpm_pcrs\xa1\x00" + register + "\x64pcrs\xa1\x00" + register, "are both there"},
		{"PCR24", "\x6dnitrotpm_pcrs\xa1\x18\x18" + register, "has PCR24, the last is PCR23"},
		{"no registers", "\x6dnitrotpm_pcrs\xa0", "nitrotpm_pcrs is empty"},
	} {
		d := *doc
		d.payload = []byte("\xbf" + tt.members +
			"\x69module_id\x61i" + "\x66digest\x66SHA384" + "\x69timestamp\x01" +
			"\x6bcertificate\x41\x01" + "\x68cabundle\x81\x41\x01" + "\xff")
		switch err := d.parsePayload(); {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
