//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd || windows)

package lifecycle

import (
	"os"
	"syscall"
	"time"
)

// identityPoll is how often a process is looked at.
const identityPoll = 250 * time.Millisecond

// identify only knows whether there is such a process: its start time is not known here.
func identify(pid int) (identity, error) {
	if !exists(pid) {
		return identity{}, os.ErrProcessDone
	}
	return identity{Pid: pid}, nil
}

func exists(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || err == syscall.EPERM
}

// resolve returns the identity to hand to a worker.
func (o Owner) resolve() (identity, *os.File, error) {
	switch {
	case o.none:
		return identity{}, nil, nil
	case o.id.Pid == 0:
		return identity{Pid: os.Getpid()}, nil, nil
	case !exists(o.id.Pid):
		return identity{}, nil, ErrOwnerGone
	}
	return o.id, nil, nil
}

// ownerWatch waits for the death of one process.
type ownerWatch struct {
	pid int
}

func watchIdentity(id identity, _ int) (*ownerWatch, error) {
	if !exists(id.Pid) {
		return nil, ErrOwnerGone
	}
	return &ownerWatch{id.Pid}, nil
}

// alive is whether there is a process with this pid.
func (w *ownerWatch) alive() bool { return exists(w.pid) }

// wait returns when the process is dead. A stopped process is alive.
func (w *ownerWatch) wait() {
	for exists(w.pid) {
		time.Sleep(identityPoll)
	}
}
