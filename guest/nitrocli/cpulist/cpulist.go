// Package cpulist reads and writes the kernel's lists of numbers, such as
// "1-3,7" (Documentation/admin-guide/kernel-parameters.rst, "cpu lists", without
// strides).
package cpulist

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Max is the largest number in a list, with room: a kernel has at most 8192 CPUs
// (CONFIG_NR_CPUS) and 1024 NUMA nodes.
const Max = 1<<16 - 1

// Errors of Parse, for errors.Is.
var (
	ErrNumber = errors.New("not a number")
	ErrRange  = errors.New("not a range")
)

// Parse reads a list. White space around numbers does not matter, an empty text
// is an empty list, and a range whose end lies before its start has nothing in
// it. The order is that of the text, and a number may come more than once. An
// error wraps [ErrNumber] or [ErrRange].
func Parse(text string) ([]uint32, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var list []uint32
	for part := range strings.SplitSeq(text, ",") {
		bounds := strings.Split(part, "-")
		if len(bounds) > 2 {
			return nil, fmt.Errorf("%q: %w", part, ErrRange)
		}
		first, err := number(bounds[0])
		if err != nil {
			return nil, err
		}
		last := first
		if len(bounds) == 2 {
			if last, err = number(bounds[1]); err != nil {
				return nil, err
			}
		}
		if len(list) > Max {
			return nil, fmt.Errorf("list has more than %d numbers: %w", Max, ErrRange)
		}
		for n := first; n <= last; n++ {
			list = append(list, n)
		}
	}
	return list, nil
}

func number(text string) (uint32, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q: %w", text, ErrNumber)
	}
	if n > Max {
		return 0, fmt.Errorf("%d: %w: more than %d", n, ErrRange, Max)
	}
	return uint32(n), nil
}

// Format writes a list with ranges, in ascending order and each number once.
func Format(list []uint32) string {
	list = slices.Compact(slices.Sorted(slices.Values(list)))
	var b strings.Builder
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, list[i])
		if j > i {
			fmt.Fprintf(&b, "-%d", list[j])
		}
		i = j + 1
	}
	return b.String()
}
