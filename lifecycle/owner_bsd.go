//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package lifecycle

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// identityPoll is how often a process is looked at if kqueue fails.
const identityPoll = 250 * time.Millisecond

// identify reads the identity of a running process.
func identify(pid int) (identity, error) {
	if !exists(pid) {
		return identity{}, os.ErrProcessDone
	}
	return identity{Pid: pid, Start: startTime(pid)}, nil
}

// resolve returns the identity to hand to a worker. There are no descriptors of processes to pass on.
func (o Owner) resolve() (identity, *os.File, error) {
	switch {
	case o.none:
		return identity{}, nil, nil
	case o.id.Pid == 0:
		return identity{Pid: os.Getpid(), Start: startTime(os.Getpid())}, nil, nil
	case !o.id.isAlive():
		return identity{}, nil, ErrOwnerGone
	}
	return o.id, nil, nil
}

func (id identity) isAlive() bool {
	return exists(id.Pid) && startTime(id.Pid) == id.Start
}

func exists(pid int) bool {
	err := unix.Kill(pid, 0)
	return err == nil || err == unix.EPERM
}

// ownerWatch waits for the death of one process.
type ownerWatch struct {
	id     identity
	kqueue int // -1 means to look at the identity from time to time
}

// watchIdentity prepares to wait for the death of the process. The event is registered before the start time is compared, so
// that it cannot be about another process if that is right.
func watchIdentity(id identity, _ int) (*ownerWatch, error) {
	kqueue, err := watchExit(id.Pid)
	if errors.Is(err, unix.ESRCH) {
		return nil, ErrOwnerGone
	}
	if !id.isAlive() {
		if kqueue >= 0 {
			unix.Close(kqueue)
		}
		return nil, ErrOwnerGone
	}
	return &ownerWatch{id, kqueue}, nil
}

func watchExit(pid int) (kqueue int, err error) {
	kqueue, err = unix.Kqueue()
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(kqueue)
	event := make([]unix.Kevent_t, 1)
	unix.SetKevent(&event[0], pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	event[0].Fflags = unix.NOTE_EXIT
	if _, err := unix.Kevent(kqueue, event, nil, nil); err != nil {
		unix.Close(kqueue)
		return -1, err
	}
	return kqueue, nil
}

// alive is whether the process lives.
func (w *ownerWatch) alive() bool { return w.id.isAlive() }

// wait returns when the process is dead. A stopped process is alive. It takes a thread.
func (w *ownerWatch) wait() {
	events := make([]unix.Kevent_t, 1)
	for w.kqueue >= 0 {
		n, err := unix.Kevent(w.kqueue, nil, events, nil)
		if n > 0 {
			return
		}
		if err != nil && err != unix.EINTR {
			break
		}
	}
	for w.id.isAlive() {
		time.Sleep(identityPoll)
	}
}
