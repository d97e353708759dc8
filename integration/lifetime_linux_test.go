package integration

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// LESSONS 8
func TestSharedWorkerEndsWithTheOwnerThatHasStartedIt(t *testing.T) {
	t.Parallel()
	o := order{Root: newSharedRoot(t), Name: "owned", Owned: true, Stay: true}
	owner := newGang(t, o.Root, 1)
	r := owner.do(t, o)[0]
	o.Owned = false
	w := join(t, quiet(), o.Name, o.command())
	if ask(t, w); w.Pid() != r.Pid {
		t.Errorf("got worker %d, want %d", w.Pid(), r.Pid)
	}
	owner[0].kill()
	awaitDone(t, "the worker's end", w.Done())
	gone(t, r.Dir, r.Pid)
}

// LESSONS 8
func TestSharedWorkerEndsWithAnOwnerThatIsAnotherProcess(t *testing.T) {
	t.Parallel()
	root := newSharedRoot(t)
	owner := newGang(t, root, 1)[0]
	cmd := shared(root)
	var err error
	if cmd.Owner, err = lifecycle.OwnerProcess(owner.pid()); err != nil {
		t.Fatal(err)
	}
	w := join(t, quiet(), "owned", cmd)
	ask(t, w)
	owner.kill()
	awaitDone(t, "the worker's end", w.Done())
	gone(t, w.Process().Dir(), w.Pid())
}

func TestSharedWorkerWithoutOwnerOutlivesWhoStartedIt(t *testing.T) {
	t.Parallel()
	o := order{Root: newSharedRoot(t), Name: "nobody's"}
	starter := newGang(t, o.Root, 1)
	r := starter.do(t, o)[0]
	starter[0].kill()
	meanwhile(50 * time.Millisecond)
	w := join(t, quiet(), o.Name, o.command())
	if ask(t, w); w.Pid() != r.Pid || w.Decision().Action != client.Reused {
		t.Errorf("got %d and %+v, want %d reused", w.Pid(), w.Decision(), r.Pid)
	}
}

// LESSONS 42
func TestSharedWorkerLeavesWhenItsIdleTimeoutIsOver(t *testing.T) {
	t.Parallel()
	root := newSharedRoot(t)
	cmd := shared(root)
	cmd.IdleTimeout = 200 * time.Millisecond
	w := join(t, quiet(), "idle", cmd)
	ask(t, w)
	w.Close()
	closed := time.Now()
	gone(t, w.Process().Dir(), w.Pid())
	if elapsed := time.Since(closed); elapsed < cmd.IdleTimeout {
		t.Errorf("it left after %v, before the idle timeout of %v", elapsed, cmd.IdleTimeout)
	}
	if names, _ := filepath.Glob(filepath.Join(root, "names", "*.json")); len(names) > 0 {
		t.Errorf("it has left its record: %v", names)
	}
}

// A client counts whether it calls or not.
// LESSONS 24
func TestSharedWorkerServesUntilItsLastClientHasLeft(t *testing.T) {
	t.Parallel()
	root := newSharedRoot(t)
	cmd := shared(root)
	cmd.IdleTimeout = time.Millisecond
	var clients []*client.Worker
	for range 3 {
		clients = append(clients, join(t, quiet(), "three", cmd))
	}
	w := clients[0]
	for len(clients) > 0 {
		if clients[0].Pid() != w.Pid() {
			t.Errorf("got worker %d, want %d", clients[0].Pid(), w.Pid())
		}
		meanwhile(50 * time.Millisecond) // without a call
		for _, c := range clients {
			ask(t, c)
		}
		if !alive(w.Pid()) {
			t.Fatalf("the worker has left with %d clients attached", len(clients))
		}
		clients[0].Close()
		clients = clients[1:]
	}
	gone(t, w.Process().Dir(), w.Pid())
}

func TestCallThatRunsLongerThanTheIdleTimeoutIsNotCutOff(t *testing.T) {
	t.Parallel()
	root, gate := newSharedRoot(t), filepath.Join(t.TempDir(), "gate")
	cmd := shared(root)
	cmd.IdleTimeout = time.Millisecond
	w := join(t, quiet(), "long", cmd)
	type answer struct {
		visitReply
		error
	}
	ctx, answered := limited(t), make(chan answer, 1)
	go func() {
		reply, err := client.Call(ctx, w, visit, visitRequest{N: 1, Gate: gate})
		answered <- answer{reply, err}
	}()
	awaitHandler(w, "awaitFile")
	meanwhile(200 * time.Millisecond)
	must(os.WriteFile(gate, nil, 0o600))
	if a := <-answered; a.error != nil || a.N != 2 || a.Pid != w.Pid() {
		t.Errorf("got %+v, want 2 from %d", a, w.Pid())
	}
}

func TestObserverDoesNotKeepASharedWorker(t *testing.T) {
	t.Parallel()
	root := newSharedRoot(t)
	cmd := shared(root)
	cmd.IdleTimeout = 100 * time.Millisecond
	w := join(t, quiet(), "observed", cmd)
	d := quiet()
	d.RuntimeDir, d.Observer = root, true
	observer, err := d.Find(t.Context(), "observed")
	if err != nil {
		t.Fatal(err)
	}
	defer observer.Close()
	ask(t, observer)
	if status, err := observer.Status(t.Context()); err != nil || status.Clients != 1 {
		t.Errorf("got %+v, %v, want one client", status, err)
	}
	w.Close()
	awaitDone(t, "the worker's end", observer.Done())
	gone(t, w.Process().Dir(), w.Pid())
}

// LESSONS 42
func TestSharedWorkerWhoseMaxLifetimeIsOverServesOnlyTheClientsItHas(t *testing.T) {
	t.Parallel()
	root := newSharedRoot(t)
	cmd := shared(root)
	cmd.MaxLifetime = 300 * time.Millisecond
	began := time.Now()
	old := join(t, quiet(), "mortal", cmd)
	await(t, "the worker to take no more clients", func() bool {
		status, err := old.Status(t.Context())
		return err == nil && status.Leaving != ""
	})
	if elapsed := time.Since(began); elapsed < cmd.MaxLifetime {
		t.Errorf("it took no more clients after %v, before its lifetime of %v was over", elapsed, cmd.MaxLifetime)
	}
	next := *cmd
	next.MaxLifetime = 0
	w := join(t, quiet(), "mortal", &next)
	if d := w.Decision(); d.Action != client.Started || w.Pid() == old.Pid() {
		t.Errorf("got %d and %+v, want a new worker", w.Pid(), d)
	}
	ask(t, w)
	meanwhile(100 * time.Millisecond)
	ask(t, old)
	old.Close()
	gone(t, old.Process().Dir(), old.Pid())
	ask(t, w)
	again := join(t, quiet(), "mortal", &next)
	if again.Pid() != w.Pid() {
		t.Errorf("got worker %d, want %d: the old one has taken more than its own name", again.Pid(), w.Pid())
	}
}

func TestFirstOfSeveralLifetimesEndsASharedWorker(t *testing.T) {
	t.Parallel()
	const short = 100 * time.Millisecond
	tests := map[string]struct {
		idle, life time.Duration
		end        func(owner *program, w *client.Worker)
	}{
		"owner":        {time.Hour, time.Hour, func(owner *program, _ *client.Worker) { owner.kill() }},
		"IdleTimeout":  {short, time.Hour, func(_ *program, w *client.Worker) { w.Close() }},
		"MaxLifetime":  {time.Hour, short, func(_ *program, w *client.Worker) { w.Close() }},
		"DrainTimeout": {time.Hour, short, func(*program, *client.Worker) {}},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			root := newSharedRoot(t)
			owner := newGang(t, root, 1)[0]
			cmd := shared(root)
			cmd.IdleTimeout, cmd.MaxLifetime, cmd.DrainTimeout = test.idle, test.life, short
			var err error
			if cmd.Owner, err = lifecycle.OwnerProcess(owner.pid()); err != nil {
				t.Fatal(err)
			}
			w := join(t, quiet(), "several", cmd)
			test.end(owner, w)
			gone(t, w.Process().Dir(), w.Pid())
		})
	}
}

// LESSONS 6, 8
func TestStarterThatIsKilledBeforeItHasPublishedTheWorkerLeavesNothing(t *testing.T) {
	t.Parallel()
	root, log := newSharedRoot(t), t.TempDir()
	o := order{Root: root, Name: "unpublished", Env: []string{logEnv + "=" + log, gateEnv + "=" + filepath.Join(log, "gate")}}
	p := run(t, playing(t, root, "cli "+rawOrder))
	p.say(o.text())
	await(t, "the start of the worker", func() bool {
		_, err := os.Lstat(filepath.Join(log, startsName))
		return err == nil
	})
	p.kill()
	await(t, "the end of the worker", func() bool { return len(belonging(root)) == 0 })
	if names, _ := filepath.Glob(filepath.Join(root, "names", "*.json")); len(names) > 0 {
		t.Errorf("a worker that never served has a record: %v", names)
	}
	w := join(t, quiet(), o.Name, shared(root))
	if d := w.Decision(); d.Action != client.Started || d.Reason != "no worker has this name" {
		t.Errorf("got %+v, want a new worker", d)
	}
	ask(t, w)
	if dirs, _ := filepath.Glob(filepath.Join(root, "????????????????")); len(dirs) != 1 {
		t.Errorf("got directories %v, want that of worker %d", dirs, w.Pid())
	}
}
