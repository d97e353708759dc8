//go:build !windows

package lifecycle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"
)

// maxSocketPath is the longest path of a Unix socket, in bytes.
var maxSocketPath = socketPathLimit()

func socketPathLimit() int {
	if runtime.GOOS == "linux" {
		return 107
	}
	return 103
}

func shortDir() string {
	return fmt.Sprintf("/tmp/unref-%d", os.Geteuid())
}

// checkOwned returns nil if path is a real directory of this user without any of the permissions in forbidden.
func checkOwned(path string, forbidden fs.FileMode) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return errors.New("is a symbolic link")
	}
	if !info.IsDir() {
		return errors.New("is not a directory")
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("belongs to uid %d and not to uid %d", stat.Uid, os.Geteuid())
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return fmt.Errorf("is open to others (mode %04o)", mode)
	}
	return nil
}
