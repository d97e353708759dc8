//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// spareFiles is how many more descriptors a worker has once it leaves: without any it could not find its children.
const spareFiles = 16

// applyField sets one limit of this process; what the Go runtime limits is not among them.
func (l Limits) applyField(field string, grace time.Duration) error {
	switch field {
	case "Memory":
		return setLimit(unix.RLIMIT_DATA, uint64(l.Memory), 0)
	case "CPU":
		return setLimit(unix.RLIMIT_CPU, uint64(l.CPU/time.Second), lastSeconds(grace))
	case "OpenFiles":
		return setLimit(unix.RLIMIT_NOFILE, uint64(l.OpenFiles), spareFiles)
	case "Nice":
		return setNice(l.Nice)
	}
	return nil
}

// setLimit sets a limit, and the hard one by spare higher as far as it is allowed to be.
func setLimit(resource int, limit, spare uint64) error {
	var r unix.Rlimit
	if err := unix.Getrlimit(resource, &r); err != nil {
		return err
	}
	hard := uint64(r.Max)
	put(&r.Cur, limit)
	put(&r.Max, max(min(limit+spare, hard), limit))
	err := unix.Setrlimit(resource, &r)
	if err != nil && limit > hard {
		return fmt.Errorf("%w (the hard limit is %d)", err, hard)
	}
	return err
}

// put is there because the type differs between systems.
func put[T int64 | uint64](to *T, value uint64) { *to = T(value) }

// spend allows the process the descriptors that were spared for its end.
func (l Limits) spend() {
	var r unix.Rlimit
	if l.OpenFiles > 0 && unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil {
		r.Cur = r.Max
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &r) // what cannot be cleaned up then is left to the starter
	}
}

// filesAreOut is whether the process has as many descriptors as it may have.
func filesAreOut() bool {
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return errors.Is(err, unix.EMFILE)
}

// cpuSignal returns a channel that gets a signal when the process is over its limit of processor time.
func cpuSignal() <-chan os.Signal {
	over := make(chan os.Signal, 1)
	signal.Notify(over, unix.SIGXCPU)
	return over
}
