package lifecycle

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// errLocked means that somebody holds the exclusive lock.
var errLocked = errors.New("instance directory is being removed")

// lockName is a file in the instance directory, since directories cannot be locked here.
const lockName = "lock"

// lockShared locks a directory as one of those who need it.
func lockShared(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return lockFile(f, 0)
}

// lockExclusive locks a directory that nobody needs, and is false if somebody does. The lock is let go at once, because
// a locked file cannot be removed here: a creator that comes in between fails and takes another id.
func lockExclusive(dir string) (*os.File, bool) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
	if err != nil {
		return nil, false
	}
	if _, err = lockFile(f, windows.LOCKFILE_EXCLUSIVE_LOCK); err != nil {
		return nil, false
	}
	f.Close()
	return f, true
}

func lockFile(f *os.File, flags uint32) (*os.File, error) {
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	if err != nil {
		f.Close()
		return nil, errLocked
	}
	return f, nil
}
