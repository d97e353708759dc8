package lifecycle

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func workerAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit waits for a child's death without a thread, and does not reap it. It returns at once if that is impossible.
func awaitExit(pid int) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), "worker")
	defer f.Close()
	_ = awaitReadable(f)
}

// calledOff is whether the process itself is the worker, so that its first act has called off the guard of the start
// phase: it holds the instance directory open.
func calledOff(pid int, dir *os.File) bool {
	want, err := dir.Stat()
	if err != nil {
		return false
	}
	fds := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(fds)
	if err != nil {
		return false
	}
	for _, entry := range entries {
		if got, err := os.Stat(fds + "/" + entry.Name()); err == nil && os.SameFile(got, want) {
			return true
		}
	}
	return false
}
