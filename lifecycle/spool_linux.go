package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// createSpool returns an unlinked file in dir that can be read and appended to.
func createSpool(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR|os.O_APPEND, 0o600)
	if err == nil {
		return f, nil
	}
	return createUnlinked(dir)
}

// dropOutput frees the part of the file from from to to, and leaves its size as it is.
func dropOutput(f *os.File, from, to int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, to-from)
}

// nextData finds the next data by the file's holes. It moves the file's offset, which nobody uses: writers append and
// readers name their offset.
func nextData(f *os.File, off int64) int64 {
	conn, err := f.SyscallConn() // and not Fd, because the file may be closed meanwhile
	if err != nil {
		return off
	}
	data := off
	_ = conn.Control(func(fd uintptr) {
		if found, err := unix.Seek(int(fd), off, unix.SEEK_DATA); err == nil { // else at the end, or holes are not supported
			data = found
		}
	})
	return data
}

// noSpace is whether the file system is full, so that what was written last may be missing.
func noSpace(f *os.File) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &fs) == nil && fs.Blocks > 0 && fs.Bavail == 0
}

// growthPoll is how often the size is looked at when no inotify instance can be had.
const growthPoll = 250 * time.Millisecond

// growth returns a function that waits until the file was written to or truncated since it returned last, and one that
// stops the watch. While it waits it calls changed when something was removed from one of the directories or moved into it.
// Waiting uses no time while nothing happens. The watch is to be stopped some time before the process ends: its removal goes
// on in the kernel for a moment, and a process that ends meanwhile has to wait for some milliseconds, after its last act.
func growth(f *os.File, dirs []string, changed func()) (wait, forget func()) {
	events, err := newEvents(f, dirs)
	if err != nil {
		look := growthByPolling(f, growthPoll, changed)
		return look, func() {}
	}
	buf := make([]byte, 4096)
	wait = func() {
		n, err := events.file.Read(buf)
		if err != nil && !errors.Is(err, unix.EINTR) {
			time.Sleep(growthPoll)
		}
		if events.ofDirs(buf[:max(n, 0)]) {
			changed()
		}
	}
	return wait, events.forget
}

// events are those of one file and of some directories.
type events struct {
	file    *os.File // the inotify instance
	fd      int      // of file, which is never closed
	watches []int    // the file's first
}

const dirEvents = unix.IN_DELETE | unix.IN_MOVED_TO | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

func newEvents(f *os.File, dirs []string) (*events, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	watch, err := unix.InotifyAddWatch(fd, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.IN_MODIFY)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	e := &events{file: os.NewFile(uintptr(fd), "inotify"), fd: fd, watches: []int{watch}}
	for _, dir := range dirs {
		if watch, err := unix.InotifyAddWatch(fd, dir, dirEvents); err == nil {
			e.watches = append(e.watches, watch)
		}
	}
	return e, nil
}

// forget stops all watches.
func (e *events) forget() {
	for _, watch := range e.watches {
		_, _ = unix.InotifyRmWatch(e.fd, uint32(watch))
	}
}

// ofDirs is whether one of the events read is not the file's.
func (e *events) ofDirs(read []byte) bool {
	for len(read) >= unix.SizeofInotifyEvent {
		event := (*unix.InotifyEvent)(unsafe.Pointer(&read[0]))
		if int(event.Wd) != e.watches[0] {
			return true
		}
		read = read[min(len(read), unix.SizeofInotifyEvent+int(event.Len)):]
	}
	return false
}
