package toolchain

import (
	"fmt"
	"io/fs"
	"syscall"
)

// A stamp is what the file system notes of a file without being asked, and
// changes when the file does: the time of the last change of its content (ns),
// that of anything about it (ns), which no program can set back, and which file
// it is. Equal stamps mean an unchanged file, but for damage below the file
// system; different stamps mean that the file must be read to know.
type stamp struct {
	Mtime int64  `json:"mtime"`
	Ctime int64  `json:"ctime"`
	Inode uint64 `json:"inode"`
}

// stampOf gives the stamp of a file.
func stampOf(info fs.FileInfo) (stamp, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, fmt.Errorf("file %s: no times from this file system", info.Name())
	}
	return stamp{Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(), Inode: st.Ino}, nil
}
