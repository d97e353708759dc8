package client

import (
	"syscall"
	"time"
)

// nap waits for less than a millisecond. A timer would not do: in a process that
// is otherwise idle it rings a millisecond late (epoll counts in those).
func nap(d time.Duration) {
	left := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&left, nil) // a signal may end it early
}
