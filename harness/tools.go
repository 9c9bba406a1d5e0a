package harness

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/emulator/supervisor"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// setupTimeout bounds the first use on a machine: a download of 72 MB.
const setupTimeout = 10 * time.Minute

// found is the tool chain and accelerator of this test process, looked for once.
var found = sync.OnceValues(func() (tools foundTools, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	if tools.chain, err = toolchain.Find(ctx, toolchain.Options{}); err != nil {
		return tools, err
	}
	cache, err := toolchain.CacheDir()
	if err != nil {
		return tools, err
	}
	tools.accel, err = qemu.ProbeAccel(ctx, qemu.ProbeConfig{
		Choice:   qemu.Choice(os.Getenv("NITROLAB_ACCEL")),
		Binary:   tools.chain.QEMU.Argv,
		Env:      tools.chain.QEMU.Env,
		Kernel:   tools.chain.Kernel.Image,
		CacheDir: cache,
	})
	return tools, err
})

type foundTools struct {
	chain *toolchain.Toolchain
	accel qemu.Accel
}

func findTools(t testing.TB) (*toolchain.Toolchain, qemu.Accel) {
	t.Helper()
	tools, err := found()
	if err != nil {
		t.Fatalf("harness: no virtual machine can be started here: %v", err)
	}
	return tools.chain, tools.accel
}

func cacheDir(t testing.TB) string {
	t.Helper()
	dir, err := toolchain.CacheDir()
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	return dir
}

// stateDir is where Hosts of tests have their folders: apart from those of
// nitrolab run-enclave, so that describe-enclaves does not show them.
func stateDir(t testing.TB) string {
	t.Helper()
	base, err := supervisor.BaseDir()
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	return filepath.Join(base, "tests")
}
