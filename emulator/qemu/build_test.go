package qemu

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tempFile is a file that exists, for values that check.
func tempFile(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// openNull is an open file to inherit.
func openNull(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func words(lines ...string) []string { return strings.Fields(strings.Join(lines, " ")) }

func TestDeviceArgs(t *testing.T) {
	kernel, initrd := tempFile(t, "vmlinuz"), tempFile(t, "initrd")
	f := openNull(t)
	tests := []struct {
		name   string
		device Device
		args   []string // as started, file numbers from 7
		kernel []string
	}{
		{"microvm", Microvm{}, words("-M microvm,acpi=off,pit=on,pic=on,rtc=on"), nil},
		{"microvm with ACPI", Microvm{ACPI: true}, words("-M microvm,acpi=on,pit=on,pic=on,rtc=on"), nil},
		{
			"bare microvm", Microvm{NoPIT: true, NoPIC: true, NoRTC: true, NoAutoCmdline: true, Modern: true},
			words("-M microvm,acpi=off,pit=off,pic=off,rtc=off,auto-kernel-cmdline=off -global virtio-mmio.force-legacy=false"), nil,
		},
		{"cpu", CPU{Model: "max", Count: 2}, words("-cpu max -smp 2"), nil},
		{"cpu with threads", CPU{Model: "max", Count: 6, Threads: 2}, words("-cpu max -smp 6,sockets=1,cores=3,threads=2"), nil},
		{
			"q35", Q35{}, words("-M q35,sata=off,smbus=off,usb=off,vmport=off -device intel-iommu,caching-mode=on"), nil,
		},
		{
			"q35 for KVM", Q35{SplitIRQChip: true}, words("-M q35,sata=off,smbus=off,usb=off,vmport=off,kernel-irqchip=split -device intel-iommu,caching-mode=on"), nil,
		},
		{
			"root ports", RootPorts{Count: 2},
			words("-device pcie-root-port,id=rp0,bus=pcie.0,chassis=1,slot=1,addr=0x8 -device pcie-root-port,id=rp1,bus=pcie.0,chassis=2,slot=2,addr=0x9"), nil,
		},
		{
			"SMBIOS", SMBIOS{InstanceType: "m5.xlarge", InstanceID: "i-0123456789abcdef0", UUID: "ec2a"},
			[]string{
				"-smbios", "type=0,vendor=Amazon EC2,version=1.0,date=10/16/2017",
				"-smbios", "type=1,manufacturer=Amazon EC2,product=m5.xlarge,serial=ec2a,uuid=ec2a",
				"-smbios", "type=2,manufacturer=Amazon EC2,product=,asset=i-0123456789abcdef0",
				"-smbios", "type=3,manufacturer=Amazon EC2,asset=Amazon EC2",
			}, nil,
		},
		{"virtio-serial", VirtioSerial{}, words("-device virtio-serial-pci,id=vserial,bus=pcie.0,addr=0x3"), nil},
		{
			"serial port", SerialPort{ID: "control", Name: "org.x.0", File: f},
			words("-chardev socket,id=control-socket,fd=7 -device virtserialport,bus=vserial.0,id=control,chardev=control-socket,name=org.x.0"), nil,
		},
		{
			"virtio-rng", VirtioRNG{},
			words("-object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng,bus=pcie.0,addr=0x4"), nil,
		},
		{"incoming", Incoming{}, words("-incoming defer"), nil},
		{"memory", Memory{MiB: 512}, words("-m 512M"), nil},
		{
			"shared memory", Memory{MiB: 512, Shared: true},
			words("-m 512M -object memory-backend-memfd,id=ram,size=512M,share=on -machine memory-backend=ram"), nil,
		},
		{
			"memory in a file", MemoryFile{MiB: 512, File: f},
			words("-m 512M -object memory-backend-file,id=ram,size=512M,mem-path=/proc/self/fd/7,share=on -machine memory-backend=ram"), nil,
		},
		{"KVM", Accel{Name: KVM}, words("-accel kvm"), nil},
		{"TCG", Accel{}, words("-accel tcg"), nil},
		{"i8042", I8042{}, words("-device i8042"), nil},
		{
			"kernel", Kernel{Image: kernel, Initrd: initrd, Append: "a b"},
			[]string{"-kernel", kernel, "-initrd", initrd}, []string{"a b"},
		},
		{"kernel alone", Kernel{Image: kernel}, []string{"-kernel", kernel}, nil},
		{"firmware", Firmware{Path: "qboot.rom"}, words("-bios qboot.rom"), nil},
		{"tsc", TSC{KHz: 2596135}, nil, words("tsc_early_khz=2596135")},
		{
			"vsock", VhostUser{ID: "vsock", Driver: DriverVsock, Bus: MMIOSlot(0), File: f},
			words("-chardev socket,id=vsock-socket,fd=7 -device vhost-user-vsock-device,id=vsock,chardev=vsock-socket,bus=virtio-mmio-bus.0"), nil,
		},
		{
			"nsm", VhostUser{ID: "nsm", Driver: DriverGeneric, VirtioID: 33, Queues: 1, QueueSize: 64, ConfigSize: 8, Bus: MMIOSlot(1), File: f},
			words("-chardev socket,id=nsm-socket,fd=7 -device vhost-user-test-device,id=nsm,chardev=nsm-socket,virtio-id=33,num_vqs=1,vq_size=64,config_size=8,bus=virtio-mmio-bus.1"), nil,
		},
		{
			"serial file", SerialFile{ID: "log", Path: "/tmp/a,b"},
			words("-chardev file,id=log,path=/tmp/a,,b -serial chardev:log"), nil,
		},
		{"headless", headless{}, words("-nodefaults -no-user-config -display none -no-reboot"), nil},
		{"sandbox", Sandbox{}, words("-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"), nil},
		{"console", consoleSocket{f}, words("-chardev socket,id=console,fd=7 -serial chardev:console"), nil},
		{"monitor", monitorSocket{f}, words("-chardev socket,id=monitor,fd=7 -qmp chardev:monitor -S"), nil},
		{"extra", Extra{QEMU: []string{"-a"}, Kernel: []string{"b"}}, words("-a"), words("b")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if v, ok := tt.device.(Validator); ok {
				if err := v.Validate(); err != nil {
					t.Fatal(err)
				}
			}
			args := tt.device.Args()
			if in, ok := tt.device.(Inheritor); ok {
				args = in.FileArgs([]int{7})
			}
			if diff := cmp.Diff(tt.args, args); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.kernel, tt.device.KernelArgs()); diff != "" {
				t.Errorf("kernel arguments (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBuildEnclave is the line of an enclave, whole.
func TestBuildEnclave(t *testing.T) {
	kernel := tempFile(t, "vmlinuz")
	a, b, c := openNull(t), openNull(t), openNull(t)
	got, err := Build(
		Microvm{}, Accel{}, CPU{Model: "max", Count: 2}, Memory{MiB: 256, Shared: true},
		Kernel{Image: kernel, Append: "reboot=k panic=30"}, I8042{},
		VhostUser{ID: "vsock", Driver: DriverVsock, Bus: MMIOSlot(0), File: a},
		VhostUser{ID: "nsm", Driver: DriverGeneric, VirtioID: 33, Bus: MMIOSlot(1), File: b},
		TSC{KHz: 2400000}, consoleSocket{c},
	)
	if err != nil {
		t.Fatal(err)
	}
	common := words(`-M microvm,acpi=off,pit=on,pic=on,rtc=on -accel tcg -cpu max -smp 2
		-m 256M -object memory-backend-memfd,id=ram,size=256M,share=on -machine memory-backend=ram
		-kernel`, kernel, `-device i8042`)
	line := []string{"-append", "reboot=k panic=30 tsc_early_khz=2400000"}
	want := &CommandLine{
		Args: append(append(append([]string{}, common...), words(`
			-chardev socket,id=vsock-socket,fd=3
			-device vhost-user-vsock-device,id=vsock,chardev=vsock-socket,bus=virtio-mmio-bus.0
			-chardev socket,id=nsm-socket,fd=4
			-device vhost-user-test-device,id=nsm,chardev=nsm-socket,virtio-id=33,bus=virtio-mmio-bus.1
			-chardev socket,id=console,fd=5 -serial chardev:console`)...), line...),
		Files: []*os.File{a, b, c},
		Typed: append(append(append([]string{}, common...), words("-serial stdio")...), line...),
		Notes: []string{
			`without vhost-user-vsock-device "vsock": its back end lives in nitrolab`,
			`without vhost-user-test-device "nsm": its back end lives in nitrolab`,
		},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(x, y *os.File) bool { return x == y })); diff != "" {
		t.Errorf("command line (-want +got):\n%s", diff)
	}
}

func TestBuildRefuses(t *testing.T) {
	kernel := Kernel{Image: tempFile(t, "vmlinuz")}
	f := openNull(t)
	tests := []struct {
		name    string
		devices []Device
		want    string // a part of the message
	}{
		{"no model", []Device{CPU{Count: 1}}, "CPU.Model"},
		{"no cpu", []Device{CPU{Model: "max"}}, "CPU.Count is 0"},
		{"no memory", []Device{Memory{}}, "Memory.MiB is 0"},
		{"memory file", []Device{MemoryFile{MiB: 1}}, "MemoryFile.File is nil"},
		{"accelerator", []Device{Accel{Name: "hvf"}}, `Accel.Name is "hvf"`},
		{"kernel missing", []Device{Kernel{Image: "/none/such"}}, "Kernel.Image: open /none/such"},
		{"kernel is a directory", []Device{Kernel{Image: t.TempDir()}}, "no regular file"},
		{"initrd missing", []Device{Kernel{Image: kernel.Image, Initrd: "/none"}}, "Kernel.Initrd"},
		{"line end in the command line", []Device{Kernel{Image: kernel.Image, Append: "a\nb"}}, "Kernel.Append"},
		{"tsc", []Device{TSC{KHz: 1}}, "TSC.KHz is 1"},
		{"vhost id", []Device{VhostUser{Driver: DriverVsock, File: f}}, "VhostUser.ID"},
		{"vhost driver", []Device{VhostUser{ID: "a", File: f}}, "VhostUser.Driver"},
		{"vhost file", []Device{VhostUser{ID: "a", Driver: DriverVsock}}, "VhostUser.File"},
		{"vhost virtio id", []Device{VhostUser{ID: "a", Driver: DriverGeneric, File: f}}, "VhostUser.VirtioID"},
		{"vhost virtio id over 16 bits", []Device{VhostUser{ID: "a", Driver: DriverGeneric, VirtioID: 1 << 16, File: f}}, "65535"},
		{"vhost size", []Device{VhostUser{ID: "a", Driver: DriverVsock, Queues: -1, File: f}}, "negative"},
		{"serial", []Device{SerialFile{ID: "a"}}, "SerialFile"},
		{"kernel arguments alone", []Device{TSC{KHz: 2400000}}, "without a Kernel"},
		{"two machines", []Device{Microvm{}, Microvm{}}, `machine property "type"`},
		{"two memories", []Device{Memory{MiB: 1}, Memory{MiB: 1}}, `option "-m"`},
		{"two kernels", []Device{kernel, kernel}, `option "-kernel"`},
		{"two backends", []Device{Memory{MiB: 1, Shared: true}, Extra{QEMU: words("-object rng-random,id=ram")}}, `id of -object "ram"`},
		{
			"two of one id", []Device{
				VhostUser{ID: "a", Driver: DriverVsock, File: f},
				VhostUser{ID: "a", Driver: DriverVsock, File: f},
			}, `"a-socket"`,
		},
		{
			"one slot twice", []Device{
				VhostUser{ID: "a", Driver: DriverVsock, File: f, Bus: MMIOSlot(1)},
				VhostUser{ID: "b", Driver: DriverVsock, File: f, Bus: MMIOSlot(1)},
			}, `slot "virtio-mmio-bus.1"`,
		},
		{
			"JSON device", []Device{
				Extra{QEMU: []string{"-device", `{"driver":"vfio-user-pci","id":"ne0","addr":"02.0"}`}},
				Extra{QEMU: []string{"-device", "nvme,id=ne0"}},
			}, `id of -device "ne0"`,
		},
		{
			"one address twice", []Device{
				Extra{QEMU: words("-device a,bus=pcie.0,addr=2.0")},
				Extra{QEMU: words("-device b,bus=pcie.0,addr=2.0")},
			}, `slot "pcie.0 2.0"`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Build(tt.devices...)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "qemu: ") {
				t.Errorf("Build() = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// TestBuildAllows what looks like a duplicate and is none.
func TestBuildAllows(t *testing.T) {
	f := openNull(t)
	_, err := Build(
		VhostUser{ID: "a", Driver: DriverVsock, File: f},
		Extra{QEMU: words("-chardev null,id=a -object rng-random,id=b -netdev user,id=b")},
		Extra{QEMU: words("-device x,bus=pcie.0,addr=1.0 -device y,bus=pcie.1,addr=1.0 -device z,bus=pcie.1")},
		Extra{QEMU: words("-global a.b=c -global a.b=c -machine usb=off -machine hpet=off")},
		Extra{QEMU: []string{"-device", `{"broken`}},
	)
	if err != nil {
		t.Error(err)
	}
}

func TestShellQuote(t *testing.T) {
	tests := []struct {
		words []string
		want  string
	}{
		{[]string{"qemu", "-M", "microvm,acpi=off"}, "qemu -M microvm,acpi=off"},
		{[]string{"a b", "", "it's"}, `'a b' '' 'it'\''s'`},
		{[]string{"$(reboot)", "a;b", "~", "*", "\n"}, "'$(reboot)' 'a;b' '~' '*' '\n'"},
	}
	for _, tt := range tests {
		if got := ShellQuote(tt.words...); got != tt.want {
			t.Errorf("ShellQuote(%q) = %s, want %s", tt.words, got, tt.want)
		}
	}
}

// TestShellQuoteRoundTrip asks a shell.
func TestShellQuoteRoundTrip(t *testing.T) {
	in := []string{"plain", "a b", "", `it's "quoted"`, "$HOME `id` $(id)", "back\\slash", "tab\tnl\n", "é", "!x", "#c", "a=b", "-append", "{a,b}"}
	out, err := exec.Command("sh", "-c", `printf '%s\0' `+ShellQuote(in...)).Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if diff := cmp.Diff(in, got); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
}

func TestReproduce(t *testing.T) {
	got := reproduce([]string{"QEMU_MODULE_DIR=/q/m"}, []string{"/q/ld.so", "--library-path", "/q/l", "/q/qemu"},
		&CommandLine{Typed: []string{"-append", "a b"}, Notes: []string{"without x", "without y"}})
	want := "env QEMU_MODULE_DIR=/q/m /q/ld.so --library-path /q/l /q/qemu -append 'a b'  # without x; without y"
	if got != want {
		t.Errorf("reproduce() = %s\nwant %s", got, want)
	}
}

func FuzzCheckUnique(f *testing.F) {
	f.Add("-device a,id=b -device {\"id\":1} -M x,,y,a=b -chardev ,,=,")
	f.Add("-object")
	f.Add("- -- -device -M")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, " ")
		if checkUnique(args) == nil && len(args) > 0 {
			twice := append(append([]string{}, args...), "-kernel", "x", "-kernel", "x")
			if checkUnique(twice) == nil {
				t.Errorf("%q: two kernels passed", twice)
			}
		}
	})
}
