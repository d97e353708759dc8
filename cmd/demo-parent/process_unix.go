//go:build aix || darwin || dragonfly || freebsd || netbsd || openbsd || solaris

package main

import (
	"errors"

	"golang.org/x/sys/unix"
)

// alive reports whether there is a process with this pid.
func alive(pid int) bool {
	err := unix.Kill(pid, 0)
	return err == nil || errors.Is(err, unix.EPERM)
}

// ownSession reports whether a process leads a session, if that can be known.
func ownSession(pid int) (own, known bool) {
	id, err := unix.Getsid(pid)
	return id == pid, err == nil
}

// sharedFiles says that nothing is known of another process's files.
func sharedFiles(int) (shared []string, known bool) { return nil, false }
