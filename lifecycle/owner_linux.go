package lifecycle

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// identityPoll is how often a process is looked at where pidfds are not to be had.
const identityPoll = 250 * time.Millisecond

const pidfsMagic = 0x50494446

// identify reads the identity of a running process.
func identify(pid int) (identity, error) {
	id := identity{Pid: pid, PidNS: namespace("pid"), TimeNS: namespace("time")}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	switch {
	case err == unix.ESRCH || err == unix.EINVAL:
		return identity{}, os.ErrProcessDone
	case err != nil: // no pidfds here
		id.Start, err = startTime(pid)
		return id, err
	}
	defer unix.Close(fd)
	// A start time that is read while the pidfd is open belongs to its process if that still lives afterwards.
	if id.Start, err = startTime(pid); err != nil || ended(fd) {
		return identity{}, os.ErrProcessDone
	}
	return id, nil
}

// resolve returns the identity to hand to a worker and the owner's pidfd, nil where there is none.
func (o Owner) resolve() (identity, *os.File, error) {
	if o.none {
		return identity{}, nil, nil
	}
	id := o.id
	if id.Pid == 0 {
		var err error
		if id, err = identify(os.Getpid()); err != nil {
			return identity{}, nil, fmt.Errorf("identify owner: %w", err)
		}
	}
	file, err := openIdentity(id)
	if err != nil && !errors.Is(err, ErrOwnerGone) {
		return id, nil, nil
	}
	return id, file, err
}

// openIdentity opens a pidfd of exactly this process, or returns ErrOwnerGone, or why there is no pidfd.
func openIdentity(id identity) (*os.File, error) {
	fd, err := unix.PidfdOpen(id.Pid, unix.PIDFD_NONBLOCK)
	if err == unix.ESRCH {
		return nil, ErrOwnerGone
	}
	if err != nil {
		return nil, err
	}
	if !id.isAlive() || ended(fd) {
		unix.Close(fd)
		return nil, ErrOwnerGone
	}
	return os.NewFile(uintptr(fd), "owner"), nil
}

// isAlive compares the start time. It is exact while a pidfd of the process is open that has not ended.
func (id identity) isAlive() bool {
	start, err := startTime(id.Pid)
	if err != nil {
		return false
	}
	return start == id.Start || id.Start == "" || id.TimeNS != namespace("time")
}

// ownerWatch waits for the death of one process.
type ownerWatch struct {
	id   identity
	file *os.File // its pidfd; nil means to look at the identity from time to time
}

// watchIdentity prepares to wait for the death of the process. fd is a pidfd of it that was inherited, 0 if there is none:
// it is good in every pid namespace, and no pid can be reused behind it.
func watchIdentity(id identity, fd int) (*ownerWatch, error) {
	if fd != 0 && isPidfdOf(fd, id) {
		unix.CloseOnExec(fd)
		_ = unix.SetNonblock(fd, true)
		if ended(fd) {
			return nil, ErrOwnerGone
		}
		return &ownerWatch{id: id, file: os.NewFile(uintptr(fd), "owner")}, nil
	}
	if id.PidNS != namespace("pid") {
		return nil, errUnseen
	}
	file, err := openIdentity(id)
	if err == nil {
		return &ownerWatch{id: id, file: file}, nil
	}
	if errors.Is(err, ErrOwnerGone) || !id.isAlive() {
		return nil, ErrOwnerGone
	}
	return &ownerWatch{id: id}, nil
}

// wait returns when the process is dead. A stopped process is alive; so is one whose first thread has ended.
func (w *ownerWatch) wait() {
	if w.file != nil {
		if err := awaitReadable(w.file); err == nil || errors.Is(err, os.ErrClosed) {
			return
		}
	}
	for w.id.isAlive() && !isZombie(w.id.Pid) {
		time.Sleep(identityPoll)
	}
}

// awaitReadable waits in the network poller, so that no thread waits, and no timer runs.
func awaitReadable(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Read(func(fd uintptr) bool { return ended(int(fd)) })
}

// ended is whether the process of the pidfd is dead, reaped or not.
func ended(pidfd int) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0)
		if err != unix.EINTR {
			return n > 0
		}
	}
}

// isPidfdOf checks a descriptor that was handed down: a wrapper may have closed it and opened something else.
func isPidfdOf(fd int, id identity) bool {
	var fs unix.Statfs_t
	link, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if link != "anon_inode:[pidfd]" && (unix.Fstatfs(fd, &fs) != nil || fs.Type != pidfsMagic) {
		return false
	}
	pid, err := pidfdPid(strconv.Itoa(fd))
	// 0 means a process of another namespace, -1 one that has been reaped.
	return err == nil && (pid <= 0 || pid == id.Pid)
}

// pidfdPid returns the pid that a descriptor of this process refers to. For one that is closed or no pidfd it is
// [fs.ErrNotExist].
func pidfdPid(fd string) (int, error) {
	info, err := os.ReadFile("/proc/self/fdinfo/" + fd)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(info)) {
		if value, ok := strings.CutPrefix(line, "Pid:"); ok {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, fs.ErrNotExist
}

func namespace(kind string) string {
	link, _ := os.Readlink("/proc/self/ns/" + kind)
	return link
}

// procStat holds the fields of /proc/PID/stat that matter here.
type procStat struct {
	state  byte
	parent int
	flags  uint64
	start  string
}

func readStat(pid int) (procStat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, err
	}
	// The program's name may hold anything, parentheses included.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 {
		return procStat{}, fmt.Errorf("read /proc/%d/stat: too short", pid)
	}
	parent, err := strconv.Atoi(fields[1])
	flags, _ := strconv.ParseUint(fields[6], 10, 64)
	return procStat{state: fields[0][0], parent: parent, flags: flags, start: fields[19]}, err
}

// isExiting is whether the process is on its way out: it has no environment any more, and is not dead yet.
func isExiting(pid int) bool {
	const exiting = 4 // PF_EXITING
	stat, err := readStat(pid)
	return err != nil || stat.flags&exiting != 0
}

func startTime(pid int) (string, error) {
	stat, err := readStat(pid)
	return stat.start, err
}

// isZombie is whether nothing of the process runs any more. One whose first thread has ended is in state Z as well.
func isZombie(pid int) bool {
	stat, err := readStat(pid)
	if err != nil || stat.state == 'X' {
		return true
	}
	if stat.state != 'Z' {
		return false
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err != nil || len(threads) <= 1
}
