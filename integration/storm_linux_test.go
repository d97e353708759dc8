package integration

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// visitOnce attaches, makes a call and lets go.
func visitOnce(d *client.Dialer, name string, cmd *lifecycle.Command) (pid int, attached bool, err error) {
	w, err := d.Attach(context.Background(), name, cmd)
	if err != nil {
		return 0, false, err
	}
	defer w.Close()
	_, err = client.Call(context.Background(), w, echo, []byte("hello"))
	return w.Pid(), true, err
}

// Whoever stops a shared worker stops it for all, but nobody is left to wonder
// whether a call has run that never began.
func TestCallsThatComeWhileASharedWorkerIsStoppedAreSafeToRetry(t *testing.T) {
	dir := shortDir(t)
	cmd := sharedIn(dir)
	d := quiet()
	d.RuntimeDir = dir
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				_, attached, err := visitOnce(d, "storm", cmd)
				if attached && err != nil && !client.SafeToRetry(err) {
					t.Errorf("a call: %v", err)
				}
			}
		})
	}
	stops := 0
	for ctx.Err() == nil {
		if d.Stop(context.Background(), "storm") == nil { // else there is none just now
			stops++
		}
	}
	clients.Wait()
	if stops == 0 {
		t.Error("nothing was stopped")
	}
	await(t, "the end of the last worker", func() bool {
		_ = d.Stop(context.Background(), "storm")
		list, err := d.List(context.Background())
		return err == nil && len(list) == 0
	})
}

// More connections than may be in handshake at once are a crowd and not a
// reason to drop somebody who was welcomed, or to start another worker.
func TestCrowdThatAttachesAtOnceLosesNoCall(t *testing.T) {
	dir := shortDir(t)
	warm := attach(t, client.Dialer{}, sharedIn(dir))
	var crowd sync.WaitGroup
	for range 400 {
		crowd.Go(func() {
			pid, _, err := visitOnce(quiet(), t.Name(), sharedIn(dir))
			if err != nil || pid != warm.Pid() {
				t.Errorf("worker %d, %v; want worker %d", pid, err, warm.Pid())
			}
		})
	}
	crowd.Wait()
}

// LESSONS 19: what Command.Build asks for is a difference like any other.
func TestWorkerOfAnotherBuildIsReplacedAndLeaves(t *testing.T) {
	dir := shortDir(t)
	first := attach(t, client.Dialer{}, sharedIn(dir))
	pid := first.Pid()
	first.Close()
	cmd := sharedIn(dir)
	cmd.Build = "another"
	_, err := quiet().Attach(t.Context(), t.Name(), cmd)
	if err == nil || !strings.Contains(err.Error(), "build") {
		t.Errorf("a build that nobody has: %v", err)
	}
	if again := attach(t, client.Dialer{}, sharedIn(dir)); again.Pid() != pid {
		t.Errorf("the failed start has cost the worker: %d, then %d", pid, again.Pid())
	}
}

// LESSONS 14: a worker that was displaced in any way notices, though nobody
// connects to it any more.
func TestDisplacedWorkerLeavesWithoutAnyConnection(t *testing.T) {
	for what, displace := range map[string]func(dir string) error{
		"registry removed": func(dir string) error { return os.RemoveAll(filepath.Join(dir, "names")) },
		"socket removed": func(dir string) error {
			sockets, _ := filepath.Glob(filepath.Join(dir, "*", "s"))
			return os.Remove(sockets[0])
		},
		"record removed": func(dir string) error {
			records, _ := filepath.Glob(filepath.Join(dir, "names", "*.json"))
			return os.Remove(records[0])
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := shortDir(t)
			w := attach(t, client.Dialer{}, sharedIn(dir))
			pid := w.Pid()
			w.Close()
			await(t, "the displacement", func() bool { return displace(dir) == nil }) // a file may come meanwhile
			await(t, "the end of the worker", func() bool { return !alive(pid) })
		})
	}
}

// Instances of all long directories share the short one, and nothing else.
func TestLongDirectoriesDoNotSeeEachOthersWorkers(t *testing.T) {
	long := strings.Repeat("long", 40)
	dirs := []string{filepath.Join(shortDir(t), long), filepath.Join(shortDir(t), long)}
	var workers []*client.Worker
	for _, dir := range dirs {
		workers = append(workers, attach(t, client.Dialer{}, sharedIn(dir)))
	}
	d := quiet()
	d.RuntimeDir = dirs[0]
	list, err := d.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Pid != workers[0].Pid() {
		t.Errorf("got %+v, %v, want worker %d", list, err, workers[0].Pid())
	}
	if err := d.Stop(t.Context(), t.Name()); err != nil {
		t.Error(err)
	}
	if alive(workers[0].Pid()) || !alive(workers[1].Pid()) {
		t.Error("the wrong worker was stopped")
	}
}

// Operators can look at a worker that takes no new clients.
func TestDrainingWorkerAnswersObservers(t *testing.T) {
	dir := shortDir(t)
	old := attach(t, client.Dialer{}, sharedIn(dir))
	changed := sharedIn(dir)
	changed.Args = []string{"changed"}
	attach(t, client.Dialer{}, changed)
	d := quiet()
	d.RuntimeDir = dir
	await(t, "the old worker's draining", func() bool {
		list, err := d.List(t.Context())
		if err != nil || len(list) != 2 {
			t.Fatalf("got %+v, %v", list, err)
		}
		for _, info := range list {
			if info.Pid == old.Pid() && info.Displaced && info.Status != nil && info.Status.Leaving != "" && info.Status.Clients == 1 {
				return true
			}
		}
		return false
	})
	if _, err := d.Restart(t.Context(), old.Process().ID()); !errors.Is(err, client.ErrNoWorker) {
		t.Errorf("restart of the draining worker: %v", err)
	}
}
