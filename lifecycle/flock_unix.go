//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package lifecycle

import (
	"os"

	"golang.org/x/sys/unix"
)

// tryLock locks a file exclusively until it is closed, and is false if somebody else has.
func tryLock(f *os.File) bool {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// openLock opens a lock file, and makes it if need be.
func openLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
}
