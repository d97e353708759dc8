package lifecycle

import (
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// unsupportedLimits are the fields of Limits that cannot be set here.
var unsupportedLimits []string

// setNice sets the nice value of every thread: here each has its own, which a new one has from the one that starts it. While
// there is one to be set, another may have come of it.
func setNice(nice int) error {
	for again := true; again; {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		again = false
		for _, thread := range threads {
			tid, _ := strconv.Atoi(thread.Name())
			changed, err := setThreadNice(tid, nice)
			if err != nil {
				return err
			}
			again = again || changed
		}
	}
	return weighSession(nice)
}

// setThreadNice returns whether the thread had another value.
func setThreadNice(tid, nice int) (changed bool, err error) {
	// The system call returns 20 less the value.
	if now, err := unix.Getpriority(unix.PRIO_PROCESS, tid); err != nil || 20-now == nice {
		return false, ignore(err, unix.ESRCH)
	}
	err = unix.Setpriority(unix.PRIO_PROCESS, tid, nice)
	return err == nil, ignore(err, unix.ESRCH)
}

func ignore(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}

const (
	weighEvery = 100 * time.Millisecond
	weighFor   = 10 * time.Second
)

// weighSession gives the worker's session the nice value as well. Where the kernel shares processors out between sessions
// (autogroup), those of threads count within one session only, and the worker has its own. The kernel lets such a value be
// set ten times a second on the whole machine: then this is done in time.
func weighSession(nice int) error {
	err := writeAutogroup(nice)
	if errors.Is(err, unix.EAGAIN) {
		go awaitWeight(nice)
		return nil
	}
	return ignore(err, os.ErrNotExist) // the kernel was built without it
}

func awaitWeight(nice int) {
	for end := time.Now().Add(weighFor); time.Now().Before(end); {
		time.Sleep(weighEvery)
		if !errors.Is(writeAutogroup(nice), unix.EAGAIN) {
			return
		}
	}
}

func writeAutogroup(nice int) error {
	f, err := os.OpenFile("/proc/self/autogroup", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(strconv.Itoa(nice))
	return err
}
