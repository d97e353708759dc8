package lifecycle

import (
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// orphanAge is how long a dead child stays before it counts as an orphan that nobody is going to wait for.
const orphanAge = time.Second

// reapOrphans reaps adopted children that died, for the rest of the process's life. A child that os/exec started is never
// touched: its pidfd is open until somebody waited for it. A child that was started by bare fork or ForkExec has a
// second to be waited for. Nothing runs while no child ends.
func (w *Worker) reapOrphans() {
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	for range died {
		w.parent.Store(true)
		var seen map[int]string
		for ok := true; ok; ok = len(seen) > 0 {
			time.Sleep(orphanAge)
			seen = reapAged(seen)
		}
	}
}

// reapAged reaps the orphans that were seen before, and returns the others it saw: pid and start time.
func reapAged(before map[int]string) map[int]string {
	now := make(map[int]string)
	var owned map[int]bool
	var err error
	for _, pid := range children(os.Getpid()) {
		stat, statErr := readStat(pid)
		if statErr != nil || stat.state != 'Z' || !isZombie(pid) {
			continue
		}
		if owned == nil {
			owned, err = waitedFor()
		}
		switch {
		case owned[pid]:
		case err == nil && before[pid] == stat.start:
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		default:
			now[pid] = stat.start
		}
	}
	return now
}

// waitedFor returns the processes that this one holds pidfds of. With an error, for want of a free descriptor say, those are
// not all.
func waitedFor() (map[int]bool, error) {
	pids := make(map[int]bool)
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return pids, err
	}
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		switch pid, err := pidfdPid(entry.Name()); {
		case err == nil:
			pids[pid] = true
		case !errors.Is(err, fs.ErrNotExist):
			return pids, err
		}
	}
	return pids, nil
}
