package integration

import (
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// workers are those of the tests below: two that are shared, two that belong to
// this process and have the same name, which is also that of a shared one.
type workers struct {
	d          *client.Dialer
	a, b, c, e *client.Worker
	cmd        *lifecycle.Command
	root       string
}

func someWorkers(t *testing.T) workers {
	t.Helper()
	root := newSharedRoot(t)
	d := quiet()
	d.RuntimeDir = root
	w := workers{d: d, root: root, cmd: shared(root)}
	w.a, w.b = join(t, d, "a", w.cmd), join(t, d, "b", shared(root))
	own := within(root, self())
	own.Name = "worker"
	w.c, w.e = startWith(t, &client.Dialer{}, own), startWith(t, &client.Dialer{}, own)
	return w
}

func TestListShowsTheWorkersOfAllPrograms(t *testing.T) {
	t.Parallel()
	ws := someWorkers(t)
	behind := leaveBehind(t, order{Root: ws.root, Name: "c"})
	began := time.Now()
	var list []client.Info
	await(t, "the end of the connection to c", func() bool {
		var err error
		if list, err = ws.d.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(list) != 5 || list[2].Status == nil || list[2].Status.Clients == 0
	})
	want := []int{ws.a.Pid(), ws.b.Pid(), behind.Pid}
	var got []int
	for i, info := range list {
		if i > 0 && list[i-1].Name > info.Name {
			t.Errorf("%q comes after %q", info.Name, list[i-1].Name)
		}
		if info.Shared {
			got = append(got, info.Pid)
		}
		if info.Shared == (info.Fingerprint == "") || info.Program != executable() || info.Trouble != "" || info.Status == nil ||
			info.Started.After(began) || info.Usage == (lifecycle.Usage{}) {
			t.Errorf("got %+v", info)
		}
		if info.Shared != (info.Owner == 0) {
			t.Errorf("%s has the owner %d", info.Name, info.Owner)
		}
	}
	if !slices.Equal(got, want) || len(list) != 5 {
		t.Errorf("got %v of %d, want the shared ones to be %v of 5", got, len(list), want)
	}
	for i, clients := range []int{1, 1, 0} {
		if n := list[i].Status.Clients; n != clients {
			t.Errorf("%s has %d clients, want %d", list[i].Name, n, clients)
		}
	}
}

func TestListSaysOfAWorkerThatHangsThatItDoesNotAnswer(t *testing.T) {
	t.Parallel()
	ws := someWorkers(t)
	suspend(t, ws.b.Pid())
	kill(t, ws.a.Pid())
	awaitDone(t, "the removal of what it has left", ws.a.Done())
	list, err := ws.d.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range list {
		switch {
		case info.Pid == ws.a.Pid():
			t.Errorf("worker %d is dead and listed: %+v", info.Pid, info)
		case info.Pid == ws.b.Pid() && (info.Status != nil || info.Trouble != "does not answer"):
			t.Errorf("got %+v, want it not to answer", info)
		case info.Pid != ws.b.Pid() && info.Status == nil:
			t.Errorf("got %+v, want its status", info)
		}
	}
	if len(list) != 3 {
		t.Errorf("got %+v, want 3 workers", list)
	}
}

func TestFindTakesANameAPidOrAnID(t *testing.T) {
	t.Parallel()
	ws := someWorkers(t)
	for name, want := range map[string]*client.Worker{
		"a": ws.a, "b": ws.b, strconv.Itoa(ws.a.Pid()): ws.a, ws.b.Process().ID(): ws.b,
		strconv.Itoa(ws.c.Pid()): ws.c, ws.e.Process().ID(): ws.e,
	} {
		w, err := ws.d.Find(t.Context(), name)
		if err != nil {
			t.Error(err)
			continue
		}
		if status, err := w.Status(t.Context()); err != nil || w.Pid() != want.Pid() || status.Clients == 0 {
			t.Errorf("%s: got %d, %+v, %v, want %d", name, w.Pid(), status, err, want.Pid())
		}
		w.Close()
	}
	for name, want := range map[string]error{
		"c": client.ErrNoWorker, "": client.ErrNoWorker, "1": client.ErrNoWorker, "-1": client.ErrNoWorker, "worker": client.ErrAmbiguous,
	} {
		if w, err := ws.d.Find(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("%q: got %v, %v, want %v", name, w, err, want)
		}
	}
}

func TestFindTakesTheWorkerThatClientsFindAndNotTheOneItReplaced(t *testing.T) {
	t.Parallel()
	ws := someWorkers(t)
	ws.cmd.Args = []string{"new"}
	next := join(t, ws.d, "a", ws.cmd)
	w, err := ws.d.Find(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if w.Pid() != next.Pid() {
		t.Errorf("got %d, want %d, which has replaced %d", w.Pid(), next.Pid(), ws.a.Pid())
	}
	ask(t, ws.a)
}

func TestStopAndKillEndWorkersOfAnyProgram(t *testing.T) {
	t.Parallel()
	ws := someWorkers(t)
	behind := leaveBehind(t, order{Root: ws.root, Name: "c"})
	if err := ws.d.Stop(t.Context(), "c"); err != nil {
		t.Error(err)
	}
	gone(t, behind.Dir, behind.Pid)
	behind = leaveBehind(t, order{Root: ws.root, Name: "c"})
	if err := ws.d.Kill(t.Context(), "c"); err != nil {
		t.Error(err)
	}
	gone(t, behind.Dir, behind.Pid)
	suspend(t, ws.a.Pid())
	if err := ws.d.Kill(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	for name, end := range map[*client.Worker]func() error{
		ws.a: func() error { return nil },
		ws.b: func() error { return ws.d.Stop(t.Context(), "b") },
		ws.c: func() error { return ws.d.Stop(t.Context(), ws.c.Process().ID()) },
		ws.e: func() error { return ws.d.Kill(t.Context(), strconv.Itoa(ws.e.Pid())) },
	} {
		if err := end(); err != nil {
			t.Error(err)
		}
		awaitDone(t, "the end of "+name.Name(), name.Done())
		gone(t, name.Process().Dir(), name.Pid())
	}
	for _, err := range []error{ws.d.Stop(t.Context(), "b"), ws.d.Kill(t.Context(), "b")} {
		if !errors.Is(err, client.ErrNoWorker) {
			t.Errorf("got %v, want none to end", err)
		}
	}
	if names, _ := filepath.Glob(filepath.Join(ws.root, "names", "*.json")); len(names) > 2 {
		t.Errorf("got records %v: a worker that was stopped has left its own", names)
	}
}

func TestStopEndsAWorkerThatDoesNotAnswerByForce(t *testing.T) {
	t.Parallel()
	ws := someWorkers(t)
	suspend(t, ws.b.Pid())
	ws.d.AnswerTimeout = 200 * time.Millisecond
	if err := ws.d.Stop(t.Context(), "b"); !errors.Is(err, client.ErrForced) {
		t.Errorf("got %v, want client.ErrForced", err)
	}
	gone(t, ws.b.Process().Dir(), ws.b.Pid())
}

func TestRestartReplacesASharedWorkerWithOneThatIsStartedAsItWas(t *testing.T) {
	t.Parallel()
	root, book := newSharedRoot(t), newLog()
	o := order{Root: root, Name: "again", Args: []string{"-x"}, Env: []string{flavorEnv + "=sweet"}, Limits: lifecycle.Limits{CPU: time.Hour, Nice: 3}}
	leaveBehind(t, o)
	d := &client.Dialer{Logger: book.logger, RuntimeDir: root}
	old := join(t, d, o.Name, o.command())
	was := ask(t, old)
	w, err := d.Restart(t.Context(), o.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	is := ask(t, w)
	if !slices.Equal(is.Args, was.Args) || is.Flavor != was.Flavor || is.Dir != was.Dir || w.Pid() == old.Pid() {
		t.Errorf("got %+v, want one like %+v", is, was)
	}
	if got := w.Decision(); got.Action != client.Replaced || got.Previous != old.Pid() || len(got.Differences) > 0 {
		t.Errorf("got %+v, want %d replaced", got, old.Pid())
	}
	ask(t, old)
	if again := join(t, d, o.Name, o.command()); again.Pid() != w.Pid() {
		t.Errorf("got %d and %+v, want %d reused", again.Pid(), again.Decision(), w.Pid())
	}
}

// Who asks for a restart has said what is wanted: no two configurations compete.
// LESSONS 19
func TestRestartsInARowNeverWait(t *testing.T) {
	t.Parallel()
	root, book := newSharedRoot(t), newLog()
	d := &client.Dialer{Logger: book.logger, RuntimeDir: root}
	join(t, d, "again", shared(root))
	for i := range 4 {
		w, err := d.Restart(t.Context(), "again")
		if err != nil {
			t.Fatal(err)
		}
		ask(t, w)
		if got := w.Decision(); got.Waited > 500*time.Millisecond {
			t.Errorf("restart %d: got %+v, want no wait", i, got)
		}
		w.Close()
	}
	if e := book.find("different configurations"); e != nil {
		t.Errorf("got the warning %q, though nothing differs", e.Message)
	}
}

func TestRestartIsForSharedWorkersOnly(t *testing.T) {
	t.Parallel()
	ws := someWorkers(t)
	for name, want := range map[string]error{
		ws.c.Process().ID(): lifecycle.ErrNotShared, "c": client.ErrNoWorker, "worker": client.ErrAmbiguous,
	} {
		if _, err := ws.d.Restart(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
}

// LESSONS 21
func TestExplainSaysWhatAttachWouldDoAndDoesNothing(t *testing.T) {
	t.Parallel()
	root, log := newSharedRoot(t), t.TempDir()
	d := quiet()
	d.AnswerTimeout = 300 * time.Millisecond
	cmd := shared(root, logEnv+"="+log)
	explain := func(want client.Action, reason string) client.Decision {
		t.Helper()
		got, err := d.Explain(t.Context(), "explained", cmd)
		if err != nil || got.Action != want || got.Reason != reason {
			t.Errorf("got %+v, %v, want %s: %s", got, err, want, reason)
		}
		return got
	}
	explain(client.Started, "no worker has this name")
	if pids := belonging(root); len(pids) > 0 {
		t.Errorf("processes %v were started", pids)
	}
	w := join(t, d, "explained", cmd)
	pid := strconv.Itoa(w.Pid())
	explain(client.Reused, "worker "+pid+" answers and has the same configuration")
	same := cmd.Args
	cmd.Args = []string{"other"}
	const change = `args was ["integration.test"] and is ["integration.test" "other"]`
	got := explain(client.Replaced, "worker "+pid+": its configuration is another one: "+change)
	if got.Previous != w.Pid() || len(got.Differences) != 1 || got.Differences[0].Field != "args" {
		t.Errorf("got %+v, want the arguments as the difference", got)
	}
	cmd.Args = same
	suspend(t, w.Pid())
	got = explain(client.Replaced, "worker "+pid+": it does not answer within 300ms")
	if got.Previous != w.Pid() || !alive(w.Pid()) {
		t.Errorf("got %+v, want worker %d to be left alone", got, w.Pid())
	}
	kill(t, w.Pid())
	explain(client.Started, "worker "+pid+", which had this name, is gone")
	if got := starts(t, log); len(got) != 1 {
		t.Errorf("workers %v were started, want one", got)
	}
}
