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
	data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	if err != nil { // at the end, or holes are not supported
		return off
	}
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
// stops the watch. While it waits it calls changed when something was removed from dir. Waiting uses no time while nothing happens. The watch is to be stopped some time before the process
// ends: its removal goes on in the kernel for a moment, and a process that ends meanwhile has to wait for some
// milliseconds, after its last act.
func growth(f *os.File, dir string, changed func()) (wait, forget func()) {
	events, removals, forget, err := modifyEvents(f, dir)
	if err != nil {
		return growthByPolling(f, growthPoll), func() {}
	}
	buf := make([]byte, 4096)
	wait = func() {
		n, err := events.Read(buf)
		if err != nil && !errors.Is(err, unix.EINTR) {
			time.Sleep(growthPoll)
		}
		if hasEvent(buf[:max(n, 0)], removals) {
			changed()
		}
	}
	return wait, forget
}

// modifyEvents watches the file and the directory. removals is the number of the watch of the latter.
func modifyEvents(f *os.File, dir string) (events *os.File, removals int32, forget func(), err error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, 0, nil, err
	}
	watch, err := unix.InotifyAddWatch(fd, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.IN_MODIFY)
	if err != nil {
		unix.Close(fd)
		return nil, 0, nil, err
	}
	removed, err := unix.InotifyAddWatch(fd, dir, unix.IN_DELETE|unix.IN_MOVE_SELF|unix.IN_ONLYDIR)
	if err != nil {
		removed = -1
	}
	// The file is never closed, so that fd stays what it is.
	forget = func() {
		_, _ = unix.InotifyRmWatch(fd, uint32(watch))
		_, _ = unix.InotifyRmWatch(fd, uint32(removed))
	}
	return os.NewFile(uintptr(fd), "inotify"), int32(removed), forget, nil
}

// hasEvent is whether one of the events is that of the watch.
func hasEvent(events []byte, watch int32) bool {
	for len(events) >= unix.SizeofInotifyEvent {
		e := (*unix.InotifyEvent)(unsafe.Pointer(&events[0]))
		if e.Wd == watch {
			return true
		}
		events = events[min(len(events), unix.SizeofInotifyEvent+int(e.Len)):]
	}
	return false
}
