//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd || windows)

package lifecycle

import (
	"errors"
	"os"
)

// errLocked means that somebody holds the exclusive lock.
var errLocked = errors.New("instance directory is being removed")

// lockShared opens the directory. Without locks nothing is ever swept here.
func lockShared(dir string) (*os.File, error) { return os.Open(dir) }

func lockExclusive(string) (*os.File, bool) { return nil, false }
