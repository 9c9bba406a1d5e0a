package attestation

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A rejection is one case of the catalogue, users-and-attacks section 2.2 A.
type rejection struct {
	name   string
	forge  func(*forgery)
	demand func(*Options)
	want   []string // all failed checks
	is     error
	says   string // part of the first failed check's detail
}

func testRejections(t *testing.T, cases []rejection) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			f := newForgery(t)
			opts := policy(f.root.cert)
			if tt.forge != nil {
				tt.forge(f)
			}
			if tt.demand != nil {
				tt.demand(&opts)
			}
			r, err := Verify(f.bytes(), opts)
			var refusal *VerifyError
			if !errors.As(err, &refusal) {
				t.Fatalf("error %v, want a VerifyError", err)
			}
			if diff := cmp.Diff(tt.want, failures(r)); diff != "" {
				t.Errorf("failed checks (-want +got):\n%s\n%v", diff, err)
			}
			if !errors.Is(err, tt.is) {
				t.Errorf("error %v, want %v in it", err, tt.is)
			}
			if !strings.Contains(refusal.Failed[0].Detail, tt.says) {
				t.Errorf("detail %q, want %q in it", refusal.Failed[0].Detail, tt.says)
			}
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("error has a line break or an escape: %q", err)
			}
		})
	}
}

// TestRejectPolicy: documents that are in order and not what was asked for.
func TestRejectPolicy(t *testing.T) {
	pcrs := func(change func(map[uint][]byte)) func(*forgery) {
		return func(f *forgery) {
			all := productionPCRs()
			change(all)
			f.set("pcrs", pcrItem(all))
		}
	}
	fields := func(o *Options) {
		o.PublicKey, o.UserData, o.Nonce = []byte("public key"), []byte("user data"), []byte("nonce")
	}
	testRejections(t, []rejection{
		{
			name: "A4 debug enclave", forge: func(f *forgery) { f.set("pcrs", pcrItem(debugPCRs())) },
			want: []string{CheckDebug, "PCR0", "PCR1", "PCR2"}, is: ErrDebug, says: "PCR0, PCR1, PCR2 zero or absent",
		},
		{
			name: "A4 debug enclave, its PCRs expected", forge: func(f *forgery) { f.set("pcrs", pcrItem(debugPCRs())) },
			demand: func(o *Options) { o.PCRs = debugPCRs() },
			want:   []string{CheckDebug}, is: ErrDebug,
		},
		{
			name: "A4 debug enclave, no policy", forge: func(f *forgery) { f.set("pcrs", pcrItem(debugPCRs())) },
			demand: func(o *Options) { o.PCRs, o.NoPCRPolicy = nil, true },
			want:   []string{CheckDebug}, is: ErrDebug,
		},
		{
			name: "A5 all PCRs zero, expected", forge: func(f *forgery) { f.set("pcrs", pcrItem(registers())) },
			demand: func(o *Options) { o.PCRs = registers() },
			want:   []string{CheckDebug}, is: ErrDebug,
		},
		{
			name: "A5 PCR1 alone zero", forge: pcrs(func(m map[uint][]byte) { m[1] = make([]byte, pcrSize) }),
			demand: func(o *Options) { delete(o.PCRs, 1) },
			want:   []string{CheckDebug}, is: ErrDebug, says: "PCR1 zero or absent",
		},
		{
			name: "A5 PCR0 to PCR2 absent", forge: pcrs(func(m map[uint][]byte) { delete(m, 0); delete(m, 1); delete(m, 2) }),
			demand: func(o *Options) { o.PCRs, o.NoPCRPolicy = nil, true },
			want:   []string{CheckDebug}, is: ErrDebug,
		},
		{
			name: "A7 PCR0 right, PCR1 and PCR2 wrong", forge: pcrs(func(m map[uint][]byte) { m[1], m[2] = pcr("x"), pcr("y") }),
			want: []string{"PCR1", "PCR2"}, is: ErrPCR, says: "expected " + short(pcr("PCR1")) + ", found " + short(pcr("x")),
		},
		{
			name: "A7 PCR0 wrong in its middle", forge: pcrs(func(m map[uint][]byte) { m[0][20] ^= 1 }),
			want: []string{"PCR0"}, is: ErrPCR, says: "which differs first in byte 20",
		},
		{
			name: "A8 expected PCR not locked", demand: func(o *Options) { o.PCRs[16] = pcr("x") },
			want: []string{"PCR16"}, is: ErrPCR, says: "found none: it was not locked",
		},
		{
			name: "A8 PCR of another length", forge: pcrs(func(m map[uint][]byte) { m[4] = m[4][:32] }),
			want: []string{"PCR4"}, is: ErrPCR, says: "(48 bytes), found",
		},
		{
			name: "A9 PCR4 of another instance", forge: pcrs(func(m map[uint][]byte) { m[4] = pcr("i-other") }),
			want: []string{"PCR4"}, is: ErrPCR,
		},
		{
			name: "A9 PCR3 of no role", forge: pcrs(func(m map[uint][]byte) { m[3] = make([]byte, pcrSize) }),
			want: []string{"PCR3"}, is: ErrPCR, says: "found 0000…00",
		},
		{
			name: "A10 nonce null", forge: func(f *forgery) { f.set("nonce", []byte{0xf6}) }, demand: fields,
			want: []string{CheckNonce}, is: ErrNonce, says: "found none",
		},
		{
			name: "A10 nonce absent", forge: func(f *forgery) { f.drop("nonce") }, demand: fields,
			want: []string{CheckNonce}, is: ErrNonce, says: "found none",
		},
		{
			name: "A10 nonce empty", forge: func(f *forgery) { f.set("nonce", []byte{0x40}) }, demand: fields,
			want: []string{CheckNonce}, is: ErrNonce, says: "found empty (0 bytes)",
		},
		{
			name: "A10 nonce of an earlier session", forge: func(f *forgery) { f.set("nonce", bstr([]byte("nonc0"))) }, demand: fields,
			want: []string{CheckNonce}, is: ErrNonce,
		},
		{
			name: "A10 nonce null where empty is expected", forge: func(f *forgery) { f.set("nonce", []byte{0xf6}) },
			demand: func(o *Options) { o.Nonce = []byte{} },
			want:   []string{CheckNonce}, is: ErrNonce, says: "expected empty, found none",
		},
		{
			name: "A11 old, but its certificates are valid",
			demand: func(o *Options) {
				o.Time, o.MaxAge = t0.Add(10*time.Minute), 5*time.Minute
			},
			want: []string{CheckFreshness}, is: ErrStale, says: "expected at most 5m0s, found 10m0s",
		},
		{
			name: "A17 nonce in user_data",
			forge: func(f *forgery) {
				f.set("user_data", bstr([]byte("nonce")))
				f.set("nonce", bstr([]byte("user data")))
			},
			demand: fields, want: []string{CheckUserData, CheckNonce}, is: ErrUserData,
		},
		{
			name: "A17 public key of somebody else", forge: func(f *forgery) { f.set("public_key", bstr([]byte("public kex"))) }, demand: fields,
			want: []string{CheckPublicKey}, is: ErrPublicKey,
		},
		{
			name: "public key empty", forge: func(f *forgery) { f.set("public_key", []byte{0x40}) },
			want: []string{CheckFields}, is: ErrFields, says: "public_key: expected 1 to 1024 bytes, found 0",
		},
		{
			name: "user data of 1025 bytes", forge: func(f *forgery) { f.set("user_data", bstr(make([]byte, 1025))) },
			want: []string{CheckFields}, is: ErrFields, says: "user_data: expected 0 to 1024 bytes, found 1025",
		},
		{
			name: "nonce of 513 bytes where 512 are allowed", forge: func(f *forgery) { f.set("nonce", bstr(make([]byte, 513))) },
			demand: func(o *Options) { o.MaxField = 512 },
			want:   []string{CheckFields}, is: ErrFields,
		},
	})
}
