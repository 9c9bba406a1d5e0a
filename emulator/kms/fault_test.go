package kms

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

func TestFaults(t *testing.T) {
	e := newEnv(t)
	id := e.key(t, nil)
	en := e.enclave(t, e.authority)
	c := e.client(e.root)
	random := func(attested bool) (*kms.GenerateRandomOutput, error) {
		in := &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(32)}
		if attested {
			in.Recipient = en.recipient(t)
		}
		return c.GenerateRandom(ctx, in)
	}
	for kind, want := range map[FaultKind]string{
		FaultThrottle: codeThrottling, FaultInternal: codeInternal, FaultDeny: codeAccessDenied,
	} {
		remove := e.Inject(Fault{Kind: kind, Op: "GenerateRandom"})
		for range 2 {
			if _, err := random(false); code(err) != want {
				t.Errorf("%v: %v", kind, err)
			}
		}
		if got := e.last(t)["nitrolabFault"]; got != kind.String() {
			t.Errorf("%v: the audit log has the fault %v", kind, got)
		}
		if _, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")}); err != nil {
			t.Errorf("%v reached another operation: %v", kind, err)
		}
		remove()
		remove()
		if _, err := random(false); err != nil {
			t.Errorf("%v, removed: %v", kind, err)
		}
	}
	t.Run("connection", func(t *testing.T) {
		for _, kind := range []FaultKind{FaultDrop, FaultTruncate} {
			e.Inject(Fault{Kind: kind, Times: 1})
			_, err := random(false)
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v: %v", kind, err)
			}
			if _, err := random(false); err != nil {
				t.Errorf("%v came more than once: %v", kind, err)
			}
		}
	})
	t.Run("plaintext", func(t *testing.T) {
		e.Inject(Fault{Kind: FaultPlaintext, Times: 1})
		if out := must[*kms.GenerateRandomOutput](t)(random(false)); len(out.Plaintext) != 32 {
			t.Errorf("without a document: %+v", out)
		}
		out := must[*kms.GenerateRandomOutput](t)(random(true))
		if len(out.Plaintext) != 32 || out.CiphertextForRecipient != nil {
			t.Errorf("got %+v", out)
		}
		if out = must[*kms.GenerateRandomOutput](t)(random(true)); out.Plaintext != nil {
			t.Error("it came more than once")
		}
	})
	t.Run("other key", func(t *testing.T) {
		e.Inject(Fault{Kind: FaultOtherKey, Times: 1})
		out := must[*kms.GenerateRandomOutput](t)(random(true))
		good := must[*kms.GenerateRandomOutput](t)(random(true))
		if len(out.CiphertextForRecipient) != len(good.CiphertextForRecipient) {
			t.Errorf("an envelope of %d bytes, a good one has %d", len(out.CiphertextForRecipient), len(good.CiphertextForRecipient))
		}
		if head := good.CiphertextForRecipient[:70]; bytes.Equal(out.CiphertextForRecipient[:70], head) {
			t.Error("the envelope names the enclave's key")
		}
	})
	t.Run("delay", func(t *testing.T) {
		e.Inject(Fault{Kind: FaultDelay, Delay: 20 * time.Millisecond, Times: 1})
		began := time.Now()
		if _, err := random(false); err != nil || time.Since(began) < 20*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
	t.Run("both", func(t *testing.T) {
		e.Inject(Fault{Kind: FaultThrottle, Times: 1})
		e.Inject(Fault{Kind: FaultInternal, Times: 1})
		for _, want := range []string{codeThrottling, codeInternal, ""} {
			if _, err := random(false); code(err) != want {
				t.Errorf("got %v, want %q", err, want)
			}
		}
	})
}

// TestRetries: the SDK's own retries get over a throttled request, a failure of the
// service and a connection that breaks before the answer.
func TestRetries(t *testing.T) {
	e := newEnv(t)
	c := kms.New(kms.Options{
		Region: testRegion, Credentials: provider(e.root), BaseEndpoint: aws.String(e.server.URL), HTTPClient: e.server.Client(),
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.Backoff = 4, retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		}),
	})
	e.Inject(Fault{Kind: FaultThrottle, Times: 1})
	e.Inject(Fault{Kind: FaultInternal, Times: 1})
	e.Inject(Fault{Kind: FaultDrop, Times: 1, Op: "GenerateRandom"}) // it does not try again after half an answer
	must[*kms.GenerateRandomOutput](t)(c.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(1)}))
	if got := len(e.Events()); got != 4 {
		t.Errorf("%d requests, want 4", got)
	}
}

func TestInjectPanics(t *testing.T) {
	e := newEnv(t)
	for name, f := range map[string]Fault{"no kind": {}, "unknown kind": {Kind: 99}, "unknown operation": {Kind: FaultDeny, Op: "decrypt"}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			e.Inject(f)
		}()
	}
}
