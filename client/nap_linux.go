package client

import (
	"sync"
	"syscall"
	"time"
)

// nap waits for less than a millisecond. A timer would not do: in a process that
// is otherwise idle it rings a millisecond late (epoll counts in those).
// Each nap keeps a thread, so there is one at a time; where several starts are
// under way a millisecond matters less.
func nap(d time.Duration) {
	if !napping.TryLock() {
		time.Sleep(d)
		return
	}
	defer napping.Unlock()
	left := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&left, nil) // a signal may end it early
}

var napping sync.Mutex
