//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package lifecycle

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// errLocked means that somebody holds the exclusive lock.
var errLocked = errors.New("instance directory is being removed")

// lockShared locks a directory as one of those who need it. The directory is still the one with that name afterwards.
func lockShared(dir string) (*os.File, error) {
	return lockDir(dir, unix.LOCK_SH)
}

// lockExclusive locks a directory that nobody needs, and is false if somebody does.
func lockExclusive(dir string) (*os.File, bool) {
	f, err := lockDir(dir, unix.LOCK_EX)
	return f, err == nil
}

func lockDir(dir string, how int) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, errLocked
	}
	opened, err := f.Stat()
	if err == nil {
		var named os.FileInfo
		if named, err = os.Lstat(dir); err == nil && !os.SameFile(opened, named) {
			err = os.ErrNotExist
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
