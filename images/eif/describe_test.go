package eif_test

import (
	"bytes"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/images/eif"
)

// indent prints v as nitro-cli prints.
func indent(t testing.TB, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func describe(t testing.TB, b []byte) *eif.Description {
	t.Helper()
	d, err := open(t, b).Describe(inside)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDescribeShape has nitro-cli's describe-eif output, key by key in order.
func TestDescribeShape(t *testing.T) {
	signer, cert := newSigner(t, elliptic.P384())
	s := spec(signer)
	s.Metadata.Build = &eif.BuildMetadata{BuildTime: "T", BuildTool: "tool", BuildToolVersion: "1", OperatingSystem: "Linux", KernelVersion: "6"}
	s.Metadata.DockerInfo = json.RawMessage(`{"Id":"sha256:1"}`)
	s.Metadata.CustomMetadata = json.RawMessage(`{"team":"a<b","BuildTime":"forged","app":[1,2]}`)
	b, m0 := build(t, s)
	want := fmt.Sprintf(`{
  "EifVersion": 4,
  "Measurements": {
    "HashAlgorithm": "Sha384 { ... }",
    "PCR0": "%s",
    "PCR1": "%s",
    "PCR2": "%s",
    "PCR8": "%s"
  },
  "IsSigned": true,
  "SigningCertificate": {
    "IssuerName": {
      "commonName": "signer",
      "countryName": "DE",
      "organizationName": "nitrolab"
    },
    "Algorithm": "ecdsa-with-SHA384",
    "NotBefore": "Jan  2 03:04:05 2026 GMT",
    "NotAfter": "Jan  2 03:04:05 2027 GMT",
    "Signature": "%s"
  },
  "CheckCRC": true,
  "SignatureCheck": true,
  "ImageName": "app",
  "ImageVersion": "1.0",
  "Metadata": {
    "BuildTime": "T",
    "BuildTool": "tool",
    "BuildToolVersion": "1",
    "OperatingSystem": "Linux",
    "KernelVersion": "6",
    "DockerInfo": {
      "Id": "sha256:1"
    },
    "app": [
      1,
      2
    ],
    "team": "a<b"
  }
}`, m0.PCR0, m0.PCR1, m0.PCR2, m0.PCR8, colons(cert.Signature))
	if diff := cmp.Diff(want, indent(t, describe(t, b))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func colons(b []byte) string {
	var parts []string
	for _, v := range b {
		parts = append(parts, fmt.Sprintf("%02X", v))
	}
	return strings.Join(parts, ":")
}

func TestDescribeUnsigned(t *testing.T) {
	want := fmt.Sprintf(`{
  "EifVersion": 4,
  "Measurements": {
    "HashAlgorithm": "Sha384 { ... }",
    "PCR0": "%s",
    "PCR1": "%s",
    "PCR2": "%s"
  },
  "IsSigned": false,
  "CheckCRC": true
}`, m("KERNquietR0R1!"), m("KERNquietR0"), m("R1!"))
	if diff := cmp.Diff(want, indent(t, describe(t, golden(t)))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestDescribeFindings has images that are wrong in ways Describe reports
// rather than refuses.
func TestDescribeFindings(t *testing.T) {
	damaged := golden(t)
	damaged[560] ^= 1
	if d := describe(t, damaged); d.CheckCRC {
		t.Error("wrong CRC not reported")
	}

	signer, _ := newSigner(t, elliptic.P384())
	b, _ := build(t, spec(signer))
	b[560] ^= 1 // the kernel: another PCR0
	d := describe(t, fixCRC(b))
	if *d.SignatureCheck || !errors.Is(d.SignatureError, eif.ErrSignedOther) || !d.CheckCRC {
		t.Errorf("changed kernel: check %v, error %v, crc %v", *d.SignatureCheck, d.SignatureError, d.CheckCRC)
	}

	b, _ = build(t, spec(signer))
	d, err := open(t, b).Describe(notAfter.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if !*d.SignatureCheck || !errors.Is(d.SignatureError, eif.ErrCertificateExpired) {
		t.Errorf("expired: check %v, error %v", *d.SignatureCheck, d.SignatureError)
	}
}

func TestMetadata(t *testing.T) {
	tests := []struct {
		name, raw string
		want      *eif.Metadata // nil: an error
		fault     string
	}{
		{name: "empty object", raw: "{}", want: &eif.Metadata{}},
		{name: "nulls", raw: `{"DockerInfo":null,"CustomMetadata":null}`, want: &eif.Metadata{}},
		{name: "unknown keys", raw: `{"ImageName":"n","x":1}`, want: &eif.Metadata{ImageName: "n"}},
		{name: "other case is another key", raw: `{"ImageName":"n","imagename":"m"}`, want: &eif.Metadata{ImageName: "n"}},
		{
			name: "whole",
			raw:  `{"ImageName":"n","ImageVersion":"v","BuildMetadata":{"BuildTime":"t","KernelVersion":"k"},"DockerInfo":[1],"CustomMetadata":"s"}`,
			want: &eif.Metadata{
				ImageName: "n", ImageVersion: "v",
				Build:      &eif.BuildMetadata{BuildTime: "t", KernelVersion: "k"},
				DockerInfo: json.RawMessage("[1]"), CustomMetadata: json.RawMessage(`"s"`),
			},
		},
		{name: "empty", raw: "", fault: "no JSON object"},
		{name: "null", raw: "null", fault: "no JSON object"},
		{name: "array", raw: "[]", fault: "no JSON object"},
		{name: "two objects", raw: "{}{}", fault: "no JSON object"},
		{name: "name is a number", raw: `{"ImageName":1}`, fault: "ImageName is no string"},
		{name: "build is a string", raw: `{"BuildMetadata":"x"}`, fault: "BuildMetadata: no JSON object"},
		{name: "time is a number", raw: `{"BuildMetadata":{"BuildTime":1}}`, fault: "BuildTime is no string"},
		{name: "deep", raw: strings.Repeat(`{"a":`, 20000), fault: "no JSON object"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			im := open(t, rawImage(4, 0, secKernel, secCmdline, rawSection{metadata, 0, tt.raw}))
			got, err := im.Metadata()
			if tt.want == nil {
				var format *eif.FormatError
				if !errors.As(err, &format) || !strings.Contains(err.Error(), tt.fault) || !strings.Contains(err.Error(), "section 2 (metadata)") {
					t.Errorf("error %v, want a FormatError with %q", err, tt.fault)
				}
				if _, err := im.Describe(inside); !errors.As(err, &format) {
					t.Errorf("describe: error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got, err := open(t, rawImage(3, 0, secKernel, secCmdline)).Metadata(); got != nil || err != nil {
		t.Errorf("no section: %v, %v", got, err)
	}
}

func TestDescribeCustomMetadataNoObject(t *testing.T) {
	d := describe(t, rawImage(4, 0, secKernel, secCmdline, rawSection{metadata, 0, `{"BuildMetadata":{},"CustomMetadata":[1]}`}))
	b, err := json.Marshal(d.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"DockerInfo":null,"CustomMetadata":[1]}`; !strings.HasSuffix(string(b), want) {
		t.Errorf("got %s", b)
	}
}

func TestMeasurementsJSON(t *testing.T) {
	for _, signed := range []bool{false, true} {
		want := eif.Measurements{PCR0: m("0"), PCR1: m("1"), PCR2: m("2"), Signed: signed}
		if signed {
			want.PCR8 = m("8")
		}
		b, err := json.Marshal(eif.BuildInfo{Measurements: want})
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("PCR8")) != signed {
			t.Errorf("%s", b)
		}
		var got eif.BuildInfo
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Measurements); diff != "" {
			t.Error(diff)
		}
	}
	var newer eif.Measurements
	if err := json.Unmarshal([]byte(`{"HashAlgorithm":"Sha512_48 { .. }","PCR0":"`+emptyPCR+`"}`), &newer); err != nil || newer.PCR0.String() != emptyPCR {
		t.Errorf("nitro-cli 1.5.0: %v", err)
	}
	for _, bad := range []string{`{"HashAlgorithm":"md5"}`, `{"HashAlgorithm":"Sha384 { ... }","PCR0":"00"}`, `{"HashAlgorithm":"Sha384 { ... }","PCR0":"` + strings.Repeat("g", 96) + `"}`} {
		var got eif.Measurements
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s accepted", bad)
		}
	}
}
