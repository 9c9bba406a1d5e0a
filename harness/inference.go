package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/emulator/weights"
	"github.com/nitrolab/nitrolab/guest/inference/provision"
	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/guestprog"
	"github.com/nitrolab/nitrolab/images/sample"
)

// WeightsAlias is the one key of the Host's account that the images of InferenceEIF take
// a data key from.
const WeightsAlias = "alias/weights"

// WeightsContext is the one encryption context that they take weights for.
func WeightsContext() map[string]string { return map[string]string{"model": "answers"} }

// InferenceEIF writes the image of the confidential inference sample, which trusts
// the key service of h.
func InferenceEIF(t testing.TB, h *Host, edit ...func(*bundle.Spec)) string {
	t.Helper()
	return write(t, "inference.eif", edit, func(k bundle.Kernel) (bundle.Spec, error) {
		return sample.Inference(t.Context(), k, h.inferenceConfig())
	})
}

// WeakInferenceEIF is InferenceEIF with protections that [Enclave.Provision] can switch
// off: another image, which no policy for the other one names.
func WeakInferenceEIF(t testing.TB, h *Host, edit ...func(*bundle.Spec)) string {
	t.Helper()
	return write(t, "weakinference.eif", edit, func(k bundle.Kernel) (bundle.Spec, error) {
		return sample.WeakInference(t.Context(), k, h.inferenceConfig())
	})
}

func (h *Host) inferenceConfig() sample.InferenceConfig {
	return sample.InferenceConfig{
		Region: h.Region(), KeyID: fmt.Sprintf("arn:aws:kms:%s:%s:%s", h.Region(), h.Account(), WeightsAlias),
		Context: WeightsContext(), CABundle: h.ServicesRootPEM(),
	}
}

// Program is a program that runs in a guest, such as guestprog.InferCtl, to be copied
// into one.
func Program(t testing.TB, name string) []byte {
	t.Helper()
	programs, err := guestprog.Get(t.Context(), name)
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	return programs[name]
}

// Publish makes a key for r under [WeightsAlias] and encrypts weights with it, as the
// owner of the model does.
func (h *Host) Publish(t testing.TB, r weights.Release, model []byte) weights.Published {
	t.Helper()
	p, err := weights.Publish(t.Context(), h.Owner(t), r, weights.Model{Name: "answers", Alias: WeightsAlias, Weights: model})
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	return p
}

// Provision hands an enclave of InferenceEIF credentials and sealed weights, as a
// parent does. The error is a *provision.Error if the enclave refuses. weak is for
// WeakInferenceEIF.
func (e *Enclave) Provision(t testing.TB, c provision.Credentials, sealed []byte, weak weaken.Protection) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), e.host.Timeout(2*time.Minute))
	defer cancel()
	conn, err := e.DialReady(ctx, ports.Provision)
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	_, err = provision.Send(ctx, conn, provision.Request{Credentials: c, Weights: sealed, Weaken: weak})
	return err
}

// DialReady connects the Host to a port of the instance on which a program is about to
// listen.
func (i *Instance) DialReady(t testing.TB, port uint32) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), i.host.Timeout(20*time.Second))
	defer cancel()
	for {
		c, err := i.Dial(ctx, port)
		if err == nil {
			return c
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("harness: %s port %d: %v", i.ID(), port, err)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("harness: %s port %d: %v", i.ID(), port, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
