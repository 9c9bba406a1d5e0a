package harness_test

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// A process is one entry of /proc. The start time tells it from a later one with
// the same number.
type process struct {
	pid, parent int
	start       string
	name        string
}

// readProcess reads /proc/PID/stat (proc(5)); ok is false if the process does not
// run, be it that it is a zombie.
func readProcess(pid int) (p process, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, false
	}
	// The name stands in parentheses and may hold some.
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	fields := strings.Fields(string(b[end+1:])) // from field 3, the state
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return process{}, false
	}
	parent, err := strconv.Atoi(fields[1])
	return process{pid: pid, parent: parent, start: fields[19], name: string(b[open+1 : end])}, err == nil
}

// alive reports whether a process runs.
func alive(pid int) bool { _, ok := readProcess(pid); return ok }

// runs reports whether it is still the same process.
func (p process) runs() bool {
	now, ok := readProcess(p.pid)
	return ok && now.start == p.start
}

// descendants are all processes below one, itself left out.
func descendants(root int) []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	children := map[int][]process{}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if p, ok := readProcess(pid); ok {
				children[p.parent] = append(children[p.parent], p)
			}
		}
	}
	found := children[root]
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i].pid]...)
	}
	return found
}
