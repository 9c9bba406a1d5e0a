package guard

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestKill is the package's promise: whoever is killed, nothing survives.
func TestKill(t *testing.T) {
	const (
		theOwner = 1 << iota
		theSpare
		theKeeper
	)
	tests := []struct {
		name string
		who  int
	}{
		{"owner", theOwner},
		{"spare", theSpare},
		{"keeper", theKeeper},
		{"owner and spare", theOwner | theSpare},
		{"owner and keeper", theOwner | theKeeper},
		{"spare and keeper", theSpare | theKeeper},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := newOwner(t, "wait")
			o.whole()
			var pids []int
			if tt.who&theKeeper != 0 {
				pids = append(pids, o.Keeper)
			}
			if tt.who&theSpare != 0 {
				pids = append(pids, o.Spare)
			}
			if tt.who&theOwner != 0 {
				pids = append(pids, o.cmd.Process.Pid)
			}
			o.kill(pids...)

			if !eventually(t, "no process is left", func() bool { return len(o.survivors()) == 0 }) {
				t.Errorf("survivors:%s", describe(o.survivors()))
			}
			if tt.who&theOwner != 0 {
				for _, path := range []string{o.State, o.Extra, o.Dir} {
					eventually(t, path+" is gone", func() bool { return !exists(path) })
				}
				eventually(t, "the guards are gone", func() bool {
					return !alivePid(o.Spare) && !alivePid(o.Keeper)
				})
				return
			}
			// The owner lives: it is told, and its paths are its own.
			line, err := o.out.ReadString('\n')
			if err != nil || !strings.Contains(line, ErrLost.Error()) {
				t.Errorf("owner's Wait said %q, %v; want %v", line, err, ErrLost)
			}
			for _, path := range []string{o.State, o.Extra, o.Dir} {
				if !exists(path) {
					t.Errorf("%s is gone while its owner lives", path)
				}
			}
		})
	}
}

// TestKillAllThree: the child dies by its death signal. What it left in the file
// system is swept by whoever comes next.
func TestKillAllThree(t *testing.T) {
	o := newOwner(t, "quick")
	dirGuard := o.dirGuard()
	o.kill(o.Keeper, o.Spare, dirGuard, o.cmd.Process.Pid)
	eventually(t, "the child is gone", func() bool { return !alivePid(o.Child) })
	if !exists(o.State) {
		t.Fatal("state directory is gone without anybody to remove it")
	}
	removed, err := Sweep(filepath.Dir(o.State))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{filepath.Base(o.State)}, removed); diff != "" {
		t.Errorf("swept (-want +got):\n%s", diff)
	}
	if exists(o.State) {
		t.Error("state directory is still there")
	}
}

// dirGuard finds the guard of the owner's state directory among its children.
func (o *owner) dirGuard() int {
	kids := slices.DeleteFunc(childrenOf(o.cmd.Process.Pid), func(pid int) bool { return pid == o.Spare })
	if len(kids) != 1 {
		o.t.Fatalf("owner's children besides the spare: %v", describe(kids))
	}
	return kids[0]
}

func TestOwnerEnds(t *testing.T) {
	for _, how := range []string{"panic", "exit"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			o := newOwner(t, how)
			if !eventually(t, "no process is left", func() bool { return len(o.survivors()) == 0 }) {
				t.Errorf("survivors:%s", describe(o.survivors()))
			}
			for _, path := range []string{o.State, o.Extra, o.Dir} {
				eventually(t, path+" is gone", func() bool { return !exists(path) })
			}
		})
	}
}

// TestCtrlC: a terminal sends SIGINT to the whole foreground process group, and
// SIGHUP when it goes. Child and guards must not notice.
func TestCtrlC(t *testing.T) {
	o := newOwner(t, "quick")
	for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGHUP, unix.SIGTERM} {
		if err := unix.Kill(-o.cmd.Process.Pid, sig); err != nil {
			t.Fatal(err)
		}
		// By hand at the guards, too.
		for _, pid := range []int{o.Spare, o.Keeper} {
			if err := unix.Kill(pid, sig); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, pid := range []int{o.Child, o.Spare, o.Keeper} {
		if !alivePid(pid) {
			t.Errorf("a signal to the owner's group ended %s", describe([]int{pid}))
		}
		if g, err := unix.Getpgid(pid); err != nil || g == o.cmd.Process.Pid {
			t.Errorf("process %d is in the owner's process group", pid)
		}
	}
	// Had a guard died of its signal, nothing of this would happen.
	o.kill(o.cmd.Process.Pid)
	eventually(t, "child and guards are gone", func() bool {
		return !alivePid(o.Child) && !alivePid(o.Spare) && !alivePid(o.Keeper)
	})
	eventually(t, o.Extra+" is gone", func() bool { return !exists(o.Extra) })
}
