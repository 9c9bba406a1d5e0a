package qemu

// Sandbox makes QEMU give up, by seccomp, what it never needs: new processes,
// other privileges, scheduling. A guest that breaks out of its devices finds
// less. It needs a QEMU built with seccomp.
type Sandbox struct{}

func (Sandbox) Args() []string {
	return []string{"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"}
}

func (Sandbox) KernelArgs() []string { return nil }
