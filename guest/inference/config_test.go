package inference_test

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/guest/inference"
)

func TestParseSettings(t *testing.T) {
	got, err := inference.ParseSettings([]byte(`{"region":"us-east-1","key_id":"` + alias + `","context":{"model":"answers"}}` + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := inference.Settings{Region: region, KeyID: alias, Context: pinned()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}

	refused := []struct{ name, file, want string }{
		{"empty file", "", "settings: not the JSON object that was expected"},
		{"list", "[]", "not the JSON object"},
		{"null", "null", "not the JSON object"},
		{"misspelt member", `{"region":"r","keyid":"k","context":{"a":"b"}}`, "members are region, key_id and context"},
		{"two objects", `{"region":"r","key_id":"arn:k","context":{"a":"b"}}{}`, "something follows"},
		{"no region", `{"key_id":"arn:k","context":{"a":"b"}}`, "region is missing"},
		{"no key", `{"region":"r","context":{"a":"b"}}`, "key_id is missing"},
		{"bare alias", `{"region":"r","key_id":"alias/weights","context":{"a":"b"}}`, `key_id is "alias/weights"; allowed are ARNs`},
		{"no context", `{"region":"r","key_id":"arn:k"}`, "context is empty"},
		{"empty context", `{"region":"r","key_id":"arn:k","context":{}}`, "context is empty"},
		{"context of numbers", `{"region":"r","key_id":"arn:k","context":{"a":1}}`, "not the JSON object"},
		{"too long", `{"region":"` + strings.Repeat("r", 16<<10) + `"}`, "allowed are 16384"},
	}
	for _, tt := range refused {
		if s, err := inference.ParseSettings([]byte(tt.file)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, %v; want %q", tt.name, s, err, tt.want)
		}
	}
}

// Nothing is left open that would be the parent's to say.
func TestNewRefuses(t *testing.T) {
	good := inference.Config{
		Settings: inference.Settings{Region: region, KeyID: alias, Context: pinned()},
		Roots:    x509.NewCertPool(),
		Attest:   func(wire.Attestation) ([]byte, error) { return nil, errors.New("none") },
	}
	if _, err := inference.New(good); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		change func(*inference.Config)
		want   string
	}{
		{func(c *inference.Config) { c.Roots = nil }, "roots are missing"},
		{func(c *inference.Config) { c.Attest = nil }, "Attest is required"},
		{func(c *inference.Config) { c.Region = "" }, "region is missing"},
		{func(c *inference.Config) { c.Region = "us-east-1.example.com" }, `region is "us-east-1.example.com"`},
		{func(c *inference.Config) { c.KeyID = "" }, "key_id is missing"},
		{func(c *inference.Config) { c.Context = nil }, "context is empty"},
		{func(c *inference.Config) { c.Timeout = -1 }, "timeout"},
	}
	for _, tt := range tests {
		c := good
		tt.change(&c)
		if _, err := inference.New(c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}
