package lifecycle

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// belongs is whether the process was started as the worker of this instance. It is exact while somebody has the process
// open.
func belongs(pid int, id string) bool {
	m := readMark(pid)
	return m.worker && m.id == id
}

// alive is whether the process lives.
func (w *ownerWatch) alive() bool {
	if w.file != nil {
		running := true
		if conn, err := w.file.SyscallConn(); err == nil {
			_ = conn.Control(func(fd uintptr) { running = !ended(int(fd)) })
		}
		return running
	}
	return w.id.isAlive() && !isZombie(w.id.Pid)
}

// close ends a wait that is going on. Closing again is harmless.
func (w *ownerWatch) close() {
	if w.file != nil {
		w.file.Close()
	}
}

const (
	pidfdGetInfo  = 0xc040ff0b // PIDFD_GET_INFO for the structure's first version, Linux 6.15
	pidfdInfoExit = 1 << 3     // PIDFD_INFO_EXIT

	// The kernel tells how a process ended once it has been reaped, by whoever has to.
	statusWait  = 50 * time.Millisecond
	statusPause = time.Millisecond
)

// pidfdInfo is struct pidfd_info.
type pidfdInfo struct {
	mask, cgroup                     uint64
	pid, tgid, ppid                  uint32
	ruid, rgid, euid, egid           uint32
	suid, sgid, fsuid, fsgid, status uint32
}

// status returns how the process ended, after wait, if the kernel tells: -1 and [unknownSignal] if not.
func (w *ownerWatch) status() (code int, sig syscall.Signal) {
	if w.file == nil {
		return -1, unknownSignal
	}
	conn, err := w.file.SyscallConn()
	if err != nil {
		return -1, unknownSignal
	}
	for end := time.Now().Add(statusWait); ; time.Sleep(statusPause) {
		info := pidfdInfo{mask: pidfdInfoExit}
		var errno unix.Errno
		if err := conn.Control(func(fd uintptr) {
			_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
		}); err != nil {
			return -1, unknownSignal
		}
		switch {
		case errno == 0 && info.mask&pidfdInfoExit != 0:
			return exitStatus(syscall.WaitStatus(info.status))
		case errno != 0 && errno != unix.ESRCH, time.Now().After(end):
			return -1, unknownSignal
		}
	}
}

func exitStatus(ws syscall.WaitStatus) (code int, sig syscall.Signal) {
	if ws.Signaled() {
		return -1, ws.Signal()
	}
	return ws.ExitStatus(), 0
}

// findWorker returns the pid of the process that was started as the worker of this instance. Behind a wrapper it is that
// of the innermost.
func findWorker(id string) (int, error) {
	worker := 0
	for _, pid := range processes() {
		if isOurs(pid) && belongs(pid, id) && !isZombie(pid) && (worker == 0 || startedLater(pid, worker)) {
			worker = pid
		}
	}
	if worker == 0 {
		return 0, os.ErrProcessDone
	}
	return worker, nil
}

func startedLater(a, b int) bool {
	statA, errA := readStat(a)
	statB, errB := readStat(b)
	if errA != nil || errB != nil {
		return errA == nil
	}
	if len(statA.start) != len(statB.start) {
		return len(statA.start) > len(statB.start)
	}
	return statA.start > statB.start || statA.parent == b
}
