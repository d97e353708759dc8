package lifecycle

import (
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// callOff ends the start phase's guard, see [Process.hold]. It belongs to the thread that the kernel started, which is the
// one that runs init.
func callOff() {
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0)
}

// adopt makes this process the parent of all orphans below it, so that they can be found and ended, and reaps them. Below a
// wrapper, which may have started more than this process, it belongs to a family from the start. A program that is its own
// worker gets the worker's name instead of "exe".
func (w *Worker) adopt() {
	if readMark(os.Getppid()).id == w.ID {
		w.parent.Store(true)
	}
	if name, err := unix.BytePtrFromString(w.Name); w.Self && err == nil {
		_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(name)), 0, 0, 0)
	}
	if unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == nil {
		go w.reapOrphans()
	}
}

// closeInherited closes what this process inherited and was not meant to: every descriptor from 3 on that is not
// closed on exec. Whatever Go opened itself is, and so is the owner's pidfd by now.
func closeInherited() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		closeInheritedUpTo(inheritedLimit())
		return
	}
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil {
			closeIfInherited(fd)
		}
	}
}
