//go:build linux || dragonfly || openbsd || solaris

package typecheck

import (
	"io/fs"
	"syscall"
	"time"
)

// identity returns the inode of a file and the time of its last change.
func identity(info fs.FileInfo) (inode uint64, changed time.Time) {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino, time.Unix(stat.Ctim.Unix())
	}
	return 0, time.Time{}
}
