package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"time"

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
// stops the watch. Waiting uses no time while nothing happens. The watch is to be stopped some time before the process
// ends: its removal goes on in the kernel for a moment, and a process that ends meanwhile has to wait for some
// milliseconds, after its last act.
func growth(f *os.File) (wait, forget func()) {
	events, forget, err := modifyEvents(f)
	if err != nil {
		return growthByPolling(f, growthPoll), func() {}
	}
	buf := make([]byte, 4096)
	wait = func() {
		if _, err := events.Read(buf); err != nil && !errors.Is(err, unix.EINTR) {
			time.Sleep(growthPoll)
		}
	}
	return wait, forget
}

func modifyEvents(f *os.File) (events *os.File, forget func(), err error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, nil, err
	}
	watch, err := unix.InotifyAddWatch(fd, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.IN_MODIFY)
	if err != nil {
		unix.Close(fd)
		return nil, nil, err
	}
	// The file is never closed, so that fd stays what it is.
	return os.NewFile(uintptr(fd), "inotify"), func() { _, _ = unix.InotifyRmWatch(fd, uint32(watch)) }, nil
}
