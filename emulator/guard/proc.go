package guard

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A procStat is what /proc/PID/stat says (proc_pid_stat(5)).
type procStat struct {
	state   byte // 'Z' and 'X' are dead
	ppid    int
	session int
}

// readStat returns ok = false if there is no such process.
func readStat(pid int) (st procStat, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return st, false
	}
	return parseStat(b)
}

// parseStat takes a line apart. The second field is the program's name, in
// parentheses, chosen freely by the process: it may hold parentheses, blanks and
// line ends.
func parseStat(b []byte) (st procStat, ok bool) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return st, false
	}
	f := strings.Fields(string(b[i+1:]))
	if len(f) < 4 || len(f[0]) != 1 {
		return st, false
	}
	st.state = f[0][0]
	var err1, err2 error
	st.ppid, err1 = strconv.Atoi(f[1])
	st.session, err2 = strconv.Atoi(f[3])
	return st, err1 == nil && err2 == nil
}

// processes lists all pids there are.
func processes() []int {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// childrenOf lists the live children of a process.
func childrenOf(parent int) []int {
	var kids []int
	for _, pid := range processes() {
		if st, ok := readStat(pid); ok && st.ppid == parent && st.state != 'Z' && st.state != 'X' {
			kids = append(kids, pid)
		}
	}
	return kids
}

// killStrays kills every live process that is of the session, or whose
// environment has the variable, and returns how many it found. The environment
// finds daemons, which have left the session.
func killStrays(session int, variable string) int {
	found := 0
	for _, pid := range processes() {
		if pid == os.Getpid() || pid == session {
			continue
		}
		// The pidfd pins the process: what is inspected is what is killed.
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		if isStray(pid, session, variable) {
			found++
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
		_ = unix.Close(fd)
	}
	return found
}

func isStray(pid, session int, variable string) bool {
	st, ok := readStat(pid)
	if !ok || st.state == 'Z' || st.state == 'X' {
		return false
	}
	if st.session == session {
		return true
	}
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false // another user's
	}
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if string(v) == variable {
			return true
		}
	}
	return false
}
