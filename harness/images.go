package harness

import (
	"path/filepath"
	"testing"

	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/sample"
)

// SampleEIF writes the sample image, whose application answers [Enclave.Ask],
// and returns its path. edit changes it before it is built.
func SampleEIF(t testing.TB, edit ...func(*bundle.Spec)) string {
	t.Helper()
	return write(t, "sample.eif", edit, func(k bundle.Kernel) (bundle.Spec, error) {
		return sample.Attest(t.Context(), k)
	})
}

// AgentEIF writes an image with a shell, busybox, the nsm command and nitrolab's
// agent, for [Enclave.Exec] and [Enclave.NSM].
func AgentEIF(t testing.TB, edit ...func(*bundle.Spec)) string {
	t.Helper()
	tools, _ := findTools(t)
	return write(t, "agent.eif", edit, func(k bundle.Kernel) (bundle.Spec, error) {
		return sample.Shell(t.Context(), k, tools.Busybox)
	})
}

// MisbehavingEIF writes an image whose application fails on purpose, see
// guest/cmd/misbehave for the arguments.
func MisbehavingEIF(t testing.TB, args ...string) string {
	t.Helper()
	return write(t, "misbehave.eif", nil, func(k bundle.Kernel) (bundle.Spec, error) {
		return sample.Misbehave(t.Context(), k, args...)
	})
}

// MisbehavingInitEIF is MisbehavingEIF for what fails in the place of /init,
// before the heartbeat.
func MisbehavingInitEIF(t testing.TB, args ...string) string {
	t.Helper()
	return write(t, "misbehave.eif", nil, func(k bundle.Kernel) (bundle.Spec, error) {
		return sample.MisbehaveAsInit(t.Context(), k, args...)
	})
}

// write builds an image into a folder of the test.
func write(t testing.TB, name string, edit []func(*bundle.Spec), describe func(bundle.Kernel) (bundle.Spec, error)) string {
	t.Helper()
	tools, _ := findTools(t)
	spec, err := describe(bundle.Kernel{Image: tools.Kernel.Image, Modules: tools.Kernel.ModulesDir})
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	for _, e := range edit {
		e(&spec)
	}
	path := filepath.Join(t.TempDir(), name)
	if _, err := bundle.Build(t.Context(), path, spec); err != nil {
		t.Fatalf("harness: build %s: %v", name, err)
	}
	return path
}
