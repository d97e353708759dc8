package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// patience is how long a test waits for what must happen. It is generous,
// because it only matters when the test fails.
const patience = 60 * time.Second

// await waits until cond holds.
func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain for: %s", patience, what)
		}
	}
}

// awaitDone waits for a channel to be closed.
func awaitDone(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("waited %v in vain for: %s", patience, what)
	}
}

// meanwhile lets time pass, for tests that look at what does not happen, or
// that act at an instant which is not theirs to choose. A slow machine can only
// make them see less.
func meanwhile(d time.Duration) { time.Sleep(d) }

// self describes the test binary as a worker.
func self() *lifecycle.Command { return lifecycle.Self("worker") }

// start starts a worker that is gone when the test ends.
func start(t testing.TB) *client.Worker {
	t.Helper()
	return startWith(t, &client.Dialer{}, self())
}

// startWith starts a worker whose output goes to the test's log unless the
// dialer has a logger.
func startWith(t testing.TB, d *client.Dialer, cmd *lifecycle.Command) *client.Worker {
	t.Helper()
	if d.Logger == nil {
		d.Logger = newLog().logger
	}
	w, err := d.Start(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Kill()
		if t.Failed() {
			output := w.Process().LastOutput()
			t.Logf("last output of worker %d:\n%s", w.Pid(), output[max(0, len(output)-2000):])
		}
	})
	return w
}

// logBook collects what workers log.
type logBook struct {
	logger *logrus.Logger

	mu      sync.Mutex // protects entries
	entries []*logrus.Entry
}

func newLog() *logBook {
	b := &logBook{logger: logrus.New()}
	b.logger.SetOutput(discard{})
	b.logger.SetLevel(logrus.TraceLevel)
	b.logger.AddHook(b)
	return b
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// Levels and Fire make the book a hook of its own logger.
func (b *logBook) Levels() []logrus.Level { return logrus.AllLevels }

func (b *logBook) Fire(e *logrus.Entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := *e
	b.entries = append(b.entries, &kept)
	return nil
}

// find returns the first entry whose message contains text.
func (b *logBook) find(text string) *logrus.Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.entries, func(e *logrus.Entry) bool { return strings.Contains(e.Message, text) })
	if i < 0 {
		return nil
	}
	return b.entries[i]
}

// messages returns all messages in order.
func (b *logBook) messages() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []string
	for _, e := range b.entries {
		list = append(list, e.Message)
	}
	return list
}

// alive reports whether anything of the process runs: it exists and is no
// zombie, or is one whose other threads have not ended yet.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	rest := stat[bytes.LastIndexByte(stat, ')')+1:]
	if !bytes.HasPrefix(bytes.TrimSpace(rest), []byte("Z")) {
		return true
	}
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return len(tasks) > 1
}

// statFields returns the fields of /proc/PID/stat from the state on: [0] is
// the state, [1] the parent, [3] the session.
func statFields(t testing.TB, pid int) []string {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

// descendants returns the living processes below pid.
func descendants(pid int) []int {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var all []int
	for _, task := range tasks {
		data, _ := os.ReadFile(task)
		for _, field := range strings.Fields(string(data)) {
			child, err := strconv.Atoi(field)
			if err == nil && alive(child) {
				all = append(append(all, child), descendants(child)...)
			}
		}
	}
	return all
}

// gone checks that nothing of a worker is left.
func gone(t testing.TB, dir string, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		await(t, fmt.Sprintf("end of process %d", pid), func() bool { return !alive(pid) })
	}
	await(t, "removal of "+dir, func() bool {
		_, err := os.Lstat(dir)
		return errors.Is(err, os.ErrNotExist)
	})
}
