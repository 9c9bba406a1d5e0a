package nitrocli_test

import (
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/nitrolab/nitrolab/guest/enclaves/enclavestest"
	"github.com/nitrolab/nitrolab/images/eif"
)

// Every way in which a start can fail, with the code that nitro-cli reports and
// then exits with: what the enclave process says comes first, and E39 because it
// then said nothing else.
func TestRunEnclaveFailures(t *testing.T) {
	signed := func(w *world, at int) string {
		c, k := certificate(w.t, testTime.AddDate(at, 0, 0))
		s, err := eif.NewSigner(c, k)
		if err != nil {
			w.t.Fatal(err)
		}
		path, _ := w.image("signed.eif", 10, s)
		return path
	}
	patched := func(w *world, at int, b byte) string {
		path, _ := w.image("patched.eif", 10, nil)
		content, err := os.ReadFile(path)
		if err != nil {
			w.t.Fatal(err)
		}
		content[at] ^= b
		return w.write("patched.eif", string(content))
	}
	refuse := func(err error) func(*enclavestest.Enclave) error {
		return func(*enclavestest.Enclave) error { return err }
	}
	tests := []struct {
		name  string
		sys   enclavestest.Config
		setup func(w *world) string // returns the image, "" for a good one
		args  []string              // "" for 64 MiB and 2 CPUs
		want  []string              // of standard error, in order
		used  bool                  // a slot was taken before
	}{
		{
			name: "no image", setup: func(w *world) string { return w.path("missing.eif") },
			want: []string{"[ E19 ] File operation failure", "missing.eif', failing operation: 'Open'"},
		},
		{
			name: "image is a directory", setup: func(w *world) string { return w.dir },
			want: []string{"[ E19 ] File operation failure", "not a regular file"},
		},
		{
			name: "image is a FIFO", setup: func(w *world) string {
				if err := syscall.Mkfifo(w.path("fifo"), 0o600); err != nil {
					w.t.Fatal(err)
				}
				return w.path("fifo")
			},
			want: []string{"[ E19 ]", "not a regular file"},
		},
		{
			name: "no driver", setup: func(w *world) string {
				if err := os.RemoveAll(w.root); err != nil {
					w.t.Fatal(err)
				}
				return ""
			},
			want: []string{"[ E19 ]", "File: '/sys/module/nitro_enclaves/parameters/ne_cpus', failing operation: 'Open'"},
		},
		{
			name: "pool of words", setup: func(w *world) string {
				w.file("sys/module/nitro_enclaves/parameters/ne_cpus", "two\n")
				return ""
			},
			want: []string{"[ E23 ] Malformed CPU ID error"},
		},
		{
			name: "pool that is no range", setup: func(w *world) string {
				w.file("sys/module/nitro_enclaves/parameters/ne_cpus", "0-3-7\n")
				return ""
			},
			want: []string{"[ E24 ] CPU error"},
		},
		{
			name: "empty pool", setup: func(w *world) string {
				w.file("sys/module/nitro_enclaves/parameters/ne_cpus", "\n")
				return ""
			},
			want: []string{"[ E22 ] Insufficient CPUs available in the pool. `cpu-count` is 2"},
		},
		{
			name: "CPU twice", args: []string{"--memory", "64", "--cpu-ids", "3", "3", "4", "4", "3"},
			want: []string{"[ E20 ] Invalid CPU configuration. `cpu-ids` has CPU 3, 4 more than once."},
		},
		{
			name: "CPU 0", args: []string{"--memory", "64", "--cpu-ids", "0", "2"},
			want: []string{"[ E21 ] No such CPU available in the pool. `cpu-ids` has CPU 0, which", "the pool is \"2-5\""},
		},
		{
			name: "CPU outside the pool", args: []string{"--memory", "64", "--cpu-ids", "2", "6"},
			want: []string{"[ E21 ] No such CPU available in the pool. `cpu-ids` has CPU 6, which"},
		},
		{
			// Nobody has so many, but a list that long must not hurt.
			name: "CPU twice before CPU outside", args: []string{"--memory", "64", "--cpu-ids", "9", "9"},
			want: []string{"[ E20 ]"},
		},
		{
			name: "too many CPUs", args: []string{"--memory", "64", "--cpu-count", "5"},
			want: []string{"[ E22 ] Insufficient CPUs available in the pool. `cpu-count` is 5"},
		},
		{
			name: "memory below 4 times the image",
			setup: func(w *world) string {
				path, _ := w.image("large.eif", 17*mib, nil)
				return path
			},
			args: []string{"--memory", "64", "--cpu-count", "2"},
			want: []string{"[ E26 ] Insufficient memory requested. `memory` is 64 MB, but based on the EIF file size, the minimum memory is 72 MB"},
		},
		{
			name: "no memory", args: []string{"--memory", "0", "--cpu-count", "2"},
			want: []string{"[ E26 ] Insufficient memory requested. `memory` is 0 MB"},
		},
		{
			name: "no device file", setup: func(w *world) string {
				w.sys.FailOpen(syscall.ENOENT)
				return ""
			},
			want: []string{"[ E19 ]", "File: '/dev/nitro_enclaves', failing operation: 'Open'"},
		},
		{
			name: "no CPU free", sys: enclavestest.Config{Pool: []uint32{}},
			want: []string{"[ E29 ] Ioctl failure", "NE_CREATE_VM: no CPU of the pool is free (NE_ERR_NO_CPUS_AVAIL_IN_POOL, 272)"},
		},
		{
			name: "image shorter than its header", setup: func(w *world) string { return w.write("short.eif", ".eif") }, used: true,
			want: []string{"[ E59 ] EIF signature checker error", "read EIF header"},
		},
		{
			name: "unknown section", used: true,
			setup: func(w *world) string { return patched(w, eif.HeaderSize, 0x40) }, // type of the first section
			want:  []string{"[ E59 ] EIF signature checker error", "section type 16385 is unknown"},
		},
		{
			name: "expired certificate", setup: func(w *world) string { return signed(w, -1) }, used: true,
			want: []string{"[ E59 ] EIF signature checker error", "expired"},
		},
		{
			name: "certificate of the future", setup: func(w *world) string { return signed(w, 1) }, used: true,
			want: []string{"[ E59 ]", "not valid yet"},
		},
		{
			name: "broken magic, left to the hypervisor", used: true, sys: enclavestest.Config{Launch: refuse(syscall.EINVAL)},
			setup: func(w *world) string { return patched(w, 0, 1) },
			want:  []string{"Start allocating memory...", "[ E29 ] Ioctl failure", "NE_START_ENCLAVE: invalid argument"},
		},
		{
			name: "wrong architecture, left to the hypervisor", used: true, sys: enclavestest.Config{Launch: refuse(syscall.EINVAL)},
			setup: func(w *world) string { return patched(w, 7, 1) },
			want:  []string{"[ E29 ] Ioctl failure", "NE_START_ENCLAVE: invalid argument"},
		},
		{
			name: "too few huge pages", args: []string{"--memory", "512", "--cpu-count", "2"}, used: true,
			want: []string{"Start allocating memory...", "[ E27 ] Insufficient memory available. `memory` is 512 MB", "384 MiB of 512 MiB are missing"},
		},
		{
			name: "memory that no machine has", args: []string{"--memory", "18446744073709551615", "--cpu-count", "2"}, used: true,
			want: []string{"[ E27 ] Insufficient memory available. `memory` is 18446744073709551615 MB"},
		},
		{
			name: "image behind the end of the memory", used: true, sys: enclavestest.Config{ImageOffset: 64*mib - 100},
			want: []string{"[ E34 ] Memory overflow"},
		},
		{
			name: "too many regions", sys: enclavestest.Config{MaxRegions: 4}, used: true,
			want: []string{"[ E29 ]", "region 5 of 32: NE_SET_USER_MEMORY_REGION", "NE_ERR_MEM_MAX_REGIONS, 265"},
		},
		{
			name: "CPU that another enclave has", used: true,
			sys:  enclavestest.Config{Pool: []uint32{2, 3, 4}}, // fewer than the pool's file says
			args: []string{"--memory", "64", "--cpu-ids", "4", "5"},
			want: []string{"[ E29 ]", "NE_ADD_VCPU vCPU 5", "NE_ERR_VCPU_NOT_IN_CPU_POOL, 257"},
		},
		{
			name: "no CPU asked for", args: []string{"--memory", "64", "--cpu-count", "0"}, used: true,
			want: []string{"[ E29 ]", "NE_START_ENCLAVE: the enclave has no vCPU (NE_ERR_NO_VCPUS_ADDED, 267)"},
		},
		{
			name: "half a core", args: []string{"--memory", "64", "--cpu-count", "1"}, used: true,
			want: []string{"[ E29 ]", "NE_ERR_FULL_CORES_NOT_USED, 269"},
		},
		{
			name: "memory below the driver's minimum", args: []string{"--memory", "62", "--cpu-count", "2"}, used: true,
			want: []string{"[ E29 ]", "NE_ERR_ENCLAVE_MEM_MIN_SIZE, 268"},
		},
		{
			name: "port of the heartbeat taken", used: true,
			setup: func(w *world) string {
				l, err := net.Listen("unix", w.heartbeatPath())
				if err != nil {
					w.t.Fatal(err)
				}
				w.t.Cleanup(func() { l.Close() })
				return ""
			},
			want: []string{"[ E36 ] Enclave boot failure", "listen for the heartbeat on vsock 3:9000"},
		},
		{
			name: "hypervisor fails", used: true, sys: enclavestest.Config{Launch: refuse(syscall.EIO)},
			want: []string{"[ E29 ]", "NE_START_ENCLAVE: input/output error"},
		},
		{
			name: "crash before the heartbeat", used: true,
			setup: func(w *world) string {
				w.behave = func(e *enclavestest.Enclave, _ func() net.Conn) {
					w.waitFor(func() bool { return e.State() == enclavestest.Running })
					e.Crash()
				}
				return ""
			},
			want: []string{"Started enclave with enclave-cid: 16", "[ E36 ] Enclave boot failure", "the enclave ended before it reported"},
		},
		{
			name: "crash inside the heartbeat", used: true,
			setup: func(w *world) string {
				w.behave = func(e *enclavestest.Enclave, dial func() net.Conn) {
					c := dial() // and never a byte
					w.waitFor(func() bool { return e.State() == enclavestest.Running })
					e.Crash()
					w.enclave.Go(func() { <-w.ctx.Done(); c.Close() })
				}
				return ""
			},
			want: []string{"[ E36 ]", "the enclave ended before it reported"},
		},
		{
			name: "another byte", used: true,
			setup: func(w *world) string {
				w.behave = func(_ *enclavestest.Enclave, dial func() net.Conn) {
					c := dial()
					defer c.Close()
					_, _ = c.Write([]byte{0x42})
				}
				return ""
			},
			want: []string{"[ E36 ]", "heartbeat is 0x42 instead of 0xb7"},
		},
		{
			name: "heartbeat without a byte", used: true,
			setup: func(w *world) string {
				w.behave = func(_ *enclavestest.Enclave, dial func() net.Conn) { dial().Close() }
				return ""
			},
			want: []string{"[ E36 ]", "read heartbeat: EOF"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorldWith(t, tt.sys)
			image, _ := w.image("good.eif", 10, nil)
			if tt.setup != nil {
				if path := tt.setup(w); path != "" {
					image = path
				}
			}
			args := tt.args
			if args == nil {
				args = []string{"--memory", "64", "--cpu-count", "2"}
			}
			r := w.run(append([]string{"run-enclave", "--eif-path", image}, args...)...)
			w.want(r, 39, append(tt.want, "Failed connections: 1", "[ E39 ] Enclave process connection failure")...)
			if r.stdout != "" {
				t.Errorf("standard output has %q", r.stdout)
			}
			if used := len(w.sys.Enclaves()) > 0; used != tt.used {
				t.Errorf("a slot was taken: %v, want %v", used, tt.used)
			}
			// And the next one starts.
			w.procs.Wait()
			if leaks := w.sys.Leaks(); leaks != "" {
				t.Errorf("left over: %s", leaks)
			}
		})
	}
}
