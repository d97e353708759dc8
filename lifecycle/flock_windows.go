package lifecycle

import (
	"math"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock locks a file exclusively until it is closed, and is false if somebody else has. It locks a byte far behind the
// content, which can be read meanwhile.
func tryLock(f *os.File) bool {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	at := &windows.Overlapped{Offset: math.MaxUint32, OffsetHigh: math.MaxInt32}
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, at) == nil
}

// openLock opens a lock file, and makes it if need be.
func openLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}
