package kmsclient_test

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/guest/kmsclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		want   string
		change func(*kmsclient.Config)
	}{
		{`region is ""; allowed are names such as us-east-1`, func(c *kmsclient.Config) { c.Region = "" }},
		{`region is "us-east-1.example.com/"`, func(c *kmsclient.Config) { c.Region = "us-east-1.example.com/" }},
		{`region is "US-EAST-1"`, func(c *kmsclient.Config) { c.Region = "US-EAST-1" }},
		{`region is "-us"`, func(c *kmsclient.Config) { c.Region = "-us" }},
		{`region is "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`, func(c *kmsclient.Config) { c.Region = strings.Repeat("a", 33) }},
		{"credentials are missing", func(c *kmsclient.Config) { c.Credentials = nil }},
		{"roots are missing", func(c *kmsclient.Config) { c.Roots = nil }},
		{"attest is missing", func(c *kmsclient.Config) { c.Attest = nil }},
		{"max attempts is 11; allowed are 1 to 10", func(c *kmsclient.Config) { c.MaxAttempts = 11 }},
		{"max attempts is -1", func(c *kmsclient.Config) { c.MaxAttempts = -1 }},
		{"attempt timeout is -1s", func(c *kmsclient.Config) { c.AttemptTimeout = -1e9 }},
		{"timeout is -1s", func(c *kmsclient.Config) { c.Timeout = -1e9 }},
		{"key has 1024 bits; allowed are 2048 to 4096", func(c *kmsclient.Config) {
			c.Key = &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}}
		}},
	}
	for _, tt := range tests {
		cfg := config(nil)
		tt.change(&cfg)
		if c, err := kmsclient.New(cfg); err == nil || c != nil || !strings.HasPrefix(err.Error(), "kms client: "+tt.want) {
			t.Errorf("New = %v, %v; want %q", c, err, tt.want)
		}
	}
}

// Without a key the client makes one, and an answer to it opens.
func TestNewKey(t *testing.T) {
	var keys [2][]byte
	for i := range keys {
		cfg := config(nil)
		cfg.Key = nil
		keys[i] = client(t, cfg).PublicKey()
		parsed, err := x509.ParsePKIXPublicKey(keys[i])
		if err != nil {
			t.Fatal(err)
		}
		if key, ok := parsed.(*rsa.PublicKey); !ok || key.N.BitLen() != 2048 {
			t.Errorf("key %v", parsed)
		}
	}
	if string(keys[0]) == string(keys[1]) {
		t.Error("two clients made the same key")
	}
}

// The name is that of the region's partition.
func TestEndpoints(t *testing.T) {
	for _, tt := range []struct{ region, want string }{
		{"us-east-1", "https://kms.us-east-1.amazonaws.com/"},
		{"eu-central-1", "https://kms.eu-central-1.amazonaws.com/"},
		{"cn-north-1", "https://kms.cn-north-1.amazonaws.com.cn/"},
	} {
		cfg := config(nil)
		cfg.Region, cfg.MaxAttempts = tt.region, 1
		asked := ""
		c := client(t, cfg)
		_, err := c.SDK().ListKeys(t.Context(), &kms.ListKeysInput{}, func(o *kms.Options) {
			o.HTTPClient = recorder{&asked}
		})
		if err == nil || asked != tt.want {
			t.Errorf("%s: asked %q, want %q", tt.region, asked, tt.want)
		}
	}
}

// SDK is the way to the other operations, over the same transport.
func TestSDK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, nil, object(map[string]any{"Keys": []any{map[string]any{"KeyArn": keyARN}}}))
		out, err := client(t, config(s)).SDK().ListKeys(t.Context(), &kms.ListKeysInput{})
		if err != nil || len(out.Keys) != 1 || *out.Keys[0].KeyArn != keyARN {
			t.Errorf("ListKeys = %v, %v", out, err)
		}
		if got := s.got(); len(got) != 1 || got[0].Target != "TrentService.ListKeys" {
			t.Errorf("requests %v", got)
		}
	})
}

// Calls at once share the client and a few connections.
func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, nil, operations()[0].sealed())
		cfg := config(s)
		var dials atomic.Int32
		cfg.Dial = func(ctx context.Context) (net.Conn, error) {
			dials.Add(1)
			return s.dial(ctx)
		}
		c := client(t, cfg)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 4 {
					if got, err := decrypt(t.Context(), c); err != nil || string(got) != "weights" {
						t.Errorf("Decrypt = %q, %v", got, err)
					}
				}
			})
		}
		wg.Wait()
		if n := dials.Load(); n >= 32 {
			t.Errorf("%d connections for 32 calls", n)
		}
	})
}

// A recorder notes where a request would go, and fails it.
type recorder struct{ asked *string }

func (r recorder) Do(req *http.Request) (*http.Response, error) {
	*r.asked = req.URL.String()
	return nil, errors.New("recorded")
}
