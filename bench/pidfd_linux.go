package main

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// pollStep is how often await looks at its context. The end of a process is
// seen at once.
const pollStep = 100 * time.Millisecond

// pidfd is a process that cannot be mistaken for a later one with its pid.
type pidfd int

func openPid(pid int) (pidfd, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	return pidfd(fd), err
}

// await waits until the process has ended, for at most d and not longer than
// ctx, and says whether it has.
func (p pidfd) await(ctx context.Context, d time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(p), Events: unix.POLLIN}}
	for end := time.Now().Add(d); ctx.Err() == nil && time.Now().Before(end); {
		if n, _ := unix.Poll(fds, int(pollStep.Milliseconds())); n == 1 {
			return true
		}
	}
	return false
}

// kill ends the process, and does nothing if it has ended.
func (p pidfd) kill() { _ = unix.PidfdSendSignal(int(p), unix.SIGKILL, nil, 0) }

func (p pidfd) close() { _ = unix.Close(int(p)) }
