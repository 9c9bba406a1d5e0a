package guard

import (
	"bytes"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseStat(t *testing.T) {
	tests := []struct {
		name, line string
		want       procStat
		ok         bool
	}{
		{"plain", "17 (sleep) S 3 17 12 0 -1 4194304", procStat{'S', 3, 12}, true},
		{"name with parentheses", "17 (a) R 1 1 1) Z 3 17 12 0 -1", procStat{'Z', 3, 12}, true},
		{"name with a line end", "17 (a\n) X 3 17 12", procStat{'X', 3, 12}, true},
		{"empty", "", procStat{}, false},
		{"no name", "17 sleep S 3 17 12", procStat{}, false},
		{"cut off", "17 (sleep) S 3 17", procStat{}, false},
		{"no number", "17 (sleep) S a 17 12", procStat{}, false},
		{"long state", "17 (sleep) SS 3 17 12", procStat{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := parseStat([]byte(tt.line))
			if ok != tt.ok || ok && got != tt.want {
				t.Errorf("parseStat(%q) = %+v, %v; want %+v, %v", tt.line, got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestReadOwnStat(t *testing.T) {
	sid, err := unix.Getsid(0)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := readStat(os.Getpid())
	if !ok || st.ppid != os.Getppid() || st.session != sid {
		t.Errorf("readStat(self) = %+v, %v; want ppid %d, session %d", st, ok, os.Getppid(), sid)
	}
	if _, ok := readStat(0); ok {
		t.Error("there is a process 0")
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("17 (sleep) S 3 17 12 0 -1 4194304"))
	f.Add([]byte("17 (a) R 1 1 1) Z 3 17 12"))
	f.Add([]byte("17 ()"))
	f.Fuzz(func(t *testing.T, line []byte) {
		got, ok := parseStat(line)
		// The name must not matter.
		i := bytes.LastIndexByte(line, ')')
		if i < 0 {
			if ok {
				t.Errorf("parseStat(%q) found a name", line)
			}
			return
		}
		plain, ok2 := parseStat(append([]byte("1 (x"), line[i:]...))
		if got != plain || ok != ok2 {
			t.Errorf("parseStat(%q) = %+v, %v; with another name %+v, %v", line, got, ok, plain, ok2)
		}
	})
}
