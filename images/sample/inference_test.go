package sample_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/guest/inference"
	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/sample"
)

// authority is a certificate, as PEM.
var authority = sync.OnceValue(func() []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
})

func inferenceConfig(testing.TB) sample.InferenceConfig {
	return sample.InferenceConfig{
		Region: "us-east-1", KeyID: "arn:aws:kms:us-east-1:123456789012:alias/weights",
		Context: map[string]string{"model": "answers", "a": "<b>"}, CABundle: authority(),
	}
}

// inferenceFiles are those of an inference image beside its program, where the
// program looks for them.
func inferenceFiles(t testing.TB) map[string]string {
	t.Helper()
	const settings = `{"region":"us-east-1","key_id":"arn:aws:kms:us-east-1:123456789012:alias/weights","context":{"a":"\u003cb\u003e","model":"answers"}}` + "\n"
	got, err := inference.ParseSettings([]byte(settings))
	if err != nil {
		t.Fatal(err)
	}
	c := inferenceConfig(t)
	if diff := cmp.Diff(inference.Settings{Region: c.Region, KeyID: c.KeyID, Context: c.Context}, got); diff != "" {
		t.Errorf("the program reads (-want +got):\n%s", diff)
	}
	return map[string]string{
		strings.TrimPrefix(inference.SettingsPath, "/"): settings,
		strings.TrimPrefix(inference.RootsPath, "/"):    string(authority()),
	}
}

func TestInferenceRefuses(t *testing.T) {
	tests := []struct {
		change func(*sample.InferenceConfig)
		want   string
	}{
		{func(c *sample.InferenceConfig) { c.Region = "" }, "region is empty"},
		{func(c *sample.InferenceConfig) { c.KeyID = "" }, `key id is ""`},
		{func(c *sample.InferenceConfig) { c.KeyID = "alias/weights" }, `key id is "alias/weights"; allowed is the ARN`},
		{func(c *sample.InferenceConfig) { c.Context = nil }, "context is empty"},
		{func(c *sample.InferenceConfig) { c.CABundle = nil }, "CA bundle holds no certificate in its 0 bytes"},
		{func(c *sample.InferenceConfig) { c.CABundle = []byte("not PEM") }, "CA bundle holds no certificate in its 7 bytes"},
	}
	for _, tt := range tests {
		c := inferenceConfig(t)
		tt.change(&c)
		for _, image := range []func(context.Context, bundle.Kernel, sample.InferenceConfig) (bundle.Spec, error){sample.Inference, sample.WeakInference} {
			if _, err := image(t.Context(), bundle.Kernel{}, c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		}
	}
}
