package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// donated is what lies in the huge pages of a process.
type donated struct {
	Bytes   int64 // that were read
	NonZero int64
	Needle  bool // whether the needle is there
}

// readDonated reads the huge pages of a process through its own mapping.
func readDonated(pid int, needle string) (donated, error) {
	var d donated
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return d, err
	}
	defer maps.Close()
	ranges, err := hugeRanges(maps)
	if err != nil {
		return d, err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return d, err
	}
	defer mem.Close()
	for _, r := range ranges {
		if err := d.read(io.NewSectionReader(mem, r.start, r.end-r.start), []byte(needle)); err != nil {
			return d, fmt.Errorf("read %#x to %#x of process %d: %w", r.start, r.end, pid, err)
		}
	}
	if d.Bytes == 0 {
		return d, fmt.Errorf("process %d has no huge pages", pid)
	}
	return d, nil
}

// read adds one range. A needle that lies across its end is not found.
func (d *donated) read(r io.Reader, needle []byte) error {
	buf := make([]byte, 1<<20)
	keep := 0
	for {
		n, err := io.ReadFull(r, buf[keep:])
		got := buf[:keep+n]
		d.Bytes += int64(n)
		d.NonZero += int64(n - bytes.Count(got[keep:], []byte{0}))
		if len(needle) > 0 && bytes.Contains(got, needle) {
			d.Needle = true
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
		keep = copy(buf, got[max(0, len(got)-len(needle)):])
	}
}

// A memoryRange is one line of a process's maps.
type memoryRange struct{ start, end int64 }

// hugeRanges finds the mappings of hugetlb pages (proc(5), /proc/pid/maps).
func hugeRanges(maps io.Reader) ([]memoryRange, error) {
	var ranges []memoryRange
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		line := lines.Text()
		if !strings.Contains(line, "anon_hugepage") && !strings.Contains(line, "/hugepages/") && !strings.Contains(line, "memfd:") {
			continue
		}
		span, _, _ := strings.Cut(line, " ")
		from, to, ok := strings.Cut(span, "-")
		start, err := strconv.ParseInt(from, 16, 64)
		if err != nil || !ok {
			return nil, fmt.Errorf("maps: line %q", line)
		}
		end, err := strconv.ParseInt(to, 16, 64)
		if err != nil || end <= start {
			return nil, fmt.Errorf("maps: line %q", line)
		}
		ranges = append(ranges, memoryRange{start, end})
	}
	return ranges, lines.Err()
}
