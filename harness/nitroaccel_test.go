package harness_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/harness"
	"github.com/nitrolab/nitrolab/images/instance"
)

// QEMU has a client of the nitro_enclaves driver of its own, -accel nitro: nobody
// here wrote it. It starts an enclave from inside an instance, shows its console
// and takes its heartbeat.
func TestQEMUStartsEnclave(t *testing.T) {
	vm(t, 2)
	host := harness.New(t)
	files := qemuFiles(t)
	files[strings.TrimPrefix(harness.GuestSampleEIF, "/")] = instance.File{Mode: 0o644, Path: harness.SampleEIF(t)}
	parent := host.Launch(t, harness.InstanceImage(harness.BuildInstance(t, files)), harness.InstanceMemory(2048), harness.Cold())
	parent.Allocate(t, 256, 2)

	out := parent.Pipe(t, "cd /q && exec ./ld.so --library-path /q ./qemu -accel nitro,debug-mode=on -M nitro -kernel "+harness.GuestSampleEIF+
		" -m 256 -smp 2 -nographic -monitor none 2>&1")
	deadline := time.Now().Add(host.Timeout(40 * time.Second))
	_ = out.SetDeadline(deadline)
	var text strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(text.String(), "Run /init as init process") {
		n, err := out.Read(buf)
		text.Write(buf[:n])
		if err != nil {
			t.Fatalf("QEMU in the instance ended: %v\n%s", err, text.String())
		}
	}
	list := parent.Enclaves()
	if len(list) != 1 {
		t.Fatalf("the Host has enclaves %v, want one", list)
	}
	info := list[0].Info()
	if info.MemoryMiB != 256 || info.NumberOfCPUs != 2 || info.Flags != "DEBUG_MODE" {
		t.Errorf("the Host says %+v", info)
	}
	// The application listens after the heartbeat only, which QEMU has answered.
	enclave := parent.Enclave(list[0].CID())
	nonce := []byte("through QEMU")
	raw := askParent(t, host, enclave, nonce)
	doc, err := attestation.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(doc.PCRs[4], extended(parent.ID())) || !bytes.Equal(doc.Nonce, nonce) {
		t.Errorf("PCR4 is %x, nonce %q", doc.PCRs[4], doc.Nonce)
	}
	if _, err := host.Verify(raw, harness.Policy(list[0].Measurements(), nonce)); !errors.Is(err, attestation.ErrDebug) {
		t.Errorf("verified as in production: %v, want ErrDebug", err)
	}

	// The end of QEMU is the end of the enclave.
	parent.Exec(t, "kill $(pidof ld.so)")
	awaitEnd(t, host, list[0])
	if list[0].Ended() != emulator.EndTerminated {
		t.Errorf("the enclave ended by %q", list[0].Ended())
	}
}

// qemuFiles are the QEMU of the tool chain with its loader and libraries, in /q.
func qemuFiles(t *testing.T) map[string]instance.File {
	t.Helper()
	binary, dirs := harness.QEMUProgram(t)
	files := map[string]instance.File{"q/qemu": {Mode: 0o755, Path: binary}}
	queue := []string{binary}
	for len(queue) > 0 {
		f, err := elf.Open(queue[0])
		if err != nil {
			t.Fatal(err)
		}
		libraries, err := f.ImportedLibraries()
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		queue = queue[1:]
		for _, name := range libraries {
			guest := "q/" + name
			if strings.HasPrefix(name, "ld-linux") {
				guest = "q/ld.so"
			}
			if _, ok := files[guest]; ok {
				continue
			}
			path := findLibrary(t, dirs, name)
			files[guest] = instance.File{Mode: 0o755, Path: path}
			queue = append(queue, path)
		}
	}
	return files
}

func findLibrary(t *testing.T, dirs []string, name string) string {
	t.Helper()
	for _, dir := range dirs {
		path, err := filepath.EvalSymlinks(filepath.Join(dir, name))
		if err == nil {
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
				return path
			}
		}
	}
	t.Fatal(fmt.Errorf("library %s is in none of %v", name, dirs))
	return ""
}
