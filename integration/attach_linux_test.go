package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// LESSONS 21
func TestEveryDecisionHasAReason(t *testing.T) {
	t.Parallel()
	root := newSharedRoot(t)
	d := &client.Dialer{RuntimeDir: root, AnswerTimeout: 300 * time.Millisecond}
	cmd := shared(root)
	decide := func(action client.Action, reason string) *client.Worker {
		t.Helper()
		book := newLog()
		d.Logger = book.logger
		w := join(t, d, "decided", cmd)
		got := w.Decision()
		if matched, _ := regexp.MatchString(reason, got.Reason); got.Action != action || !matched {
			t.Errorf("got %+v, want %s because of %s", got, action, reason)
		}
		e := book.find(got.String())
		if e == nil || e.Level != logrus.DebugLevel || e.Data["pid"] != w.Pid() || !strings.Contains(e.Message, `attach to "decided"`) {
			t.Errorf("got %+v in the log, want %s at debug level", e, got)
		}
		ask(t, w)
		return w
	}
	first := decide(client.Started, "^no worker has this name$")
	decide(client.Reused, fmt.Sprintf("^worker %d, started .* ago, answered and has the same configuration$", first.Pid()))
	if err := d.Stop(t.Context(), "decided"); err != nil {
		t.Error(err)
	}
	second := decide(client.Started, "^no worker has this name$")
	kill(t, second.Pid())
	third := decide(client.Started, fmt.Sprintf("^worker %d, which had this name, is gone$", second.Pid()))
	suspend(t, third.Pid())
	fourth := decide(client.Replaced, fmt.Sprintf("^worker %d: it did not answer for 300ms, and was killed$", third.Pid()))
	if got := fourth.Decision(); got.Previous != third.Pid() || len(got.Differences) > 0 {
		t.Errorf("got %+v, want worker %d as the previous one", got, third.Pid())
	}
	cmd.Args = []string{"other"}
	fifth := decide(client.Replaced, fmt.Sprintf("^worker %d: its configuration is another one: args was .* and is .*other", fourth.Pid()))
	if got := fifth.Decision(); got.Previous != fourth.Pid() || len(got.Differences) != 1 || got.Differences[0].Field != "args" {
		t.Errorf("got %+v, want the arguments as the difference", got)
	}
}

// LESSONS 18, 21
func TestAttachSaysForWhomItHasWaited(t *testing.T) {
	t.Parallel()
	root, log := newSharedRoot(t), t.TempDir()
	gate := filepath.Join(log, "gate")
	o := order{Root: root, Name: "awaited", Env: []string{logEnv + "=" + log, gateEnv + "=" + gate}}
	starter := newGang(t, root, 1)
	results := make(chan []result, 1)
	go func() { results <- starter.do(t, o) }()
	await(t, "the start of the worker", func() bool {
		_, err := os.Lstat(filepath.Join(log, startsName))
		return err == nil
	})
	book := newLog()
	ctx, waited := limited(t), make(chan *client.Worker, 1)
	go func() {
		w, err := (&client.Dialer{Logger: book.logger}).Attach(ctx, o.Name, o.command())
		if err != nil {
			t.Error(err)
		}
		waited <- w
	}()
	holder := fmt.Sprintf("process %d (%s), which has claimed the name", starter[0].pid(), executable())
	await(t, "a remark on who is waited for", func() bool { return book.find("waiting for "+holder) != nil })
	must(os.WriteFile(gate, nil, 0o600))
	w := <-waited
	if w == nil {
		return
	}
	defer w.Close()
	if d := w.Decision(); d.Action != client.Reused || d.Waited < time.Second || d.WaitedFor != holder {
		t.Errorf("got %+v, want a second's wait for %s", d, holder)
	}
	if r := (<-results)[0]; r.Pid != w.Pid() || r.Err != "" {
		t.Errorf("got %+v, want worker %d", r, w.Pid())
	}
}

func TestSharedNameThatCannotBeOneIsRefused(t *testing.T) {
	t.Parallel()
	root := newSharedRoot(t)
	for what, name := range map[string]string{
		"empty": "", "256 bytes": strings.Repeat("x", 256), "NUL": "a\x00b", "newline": "a\nb", "escape": "\x1b[31m", "C1": "a\u0085b",
		"not UTF-8": "a\xffb",
	} {
		w, err := quiet().Attach(t.Context(), name, shared(root))
		if !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: got %v, want it refused", what, err)
		}
		if w != nil {
			w.Kill()
		}
	}
	if pids := belonging(root); len(pids) > 0 {
		t.Errorf("processes %v were started", pids)
	}
}

func TestSharedNameMayHaveSlashesAndUnicodeAnd255Bytes(t *testing.T) {
	t.Parallel()
	root := newSharedRoot(t)
	d := quiet()
	d.RuntimeDir = root
	seen := make(map[int]string)
	for _, name := range []string{"../../etc/passwd", "/", ".", "wörker 働く 🚀", strings.Repeat("é", 127) + "x", "a b'\"$(c)", "NAME", "name"} {
		w := join(t, d, name, shared(root))
		again := join(t, d, name, shared(root))
		found, err := d.Find(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		defer found.Close()
		if ask(t, w); again.Pid() != w.Pid() || found.Pid() != w.Pid() || seen[w.Pid()] != "" {
			t.Errorf("%q: got workers %d, %d and %d; others are %v", name, w.Pid(), again.Pid(), found.Pid(), seen)
		}
		seen[w.Pid()] = name
	}
	list, err := d.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range list {
		if info.Name != seen[info.Pid] {
			t.Errorf("worker %d is called %q, want %q", info.Pid, info.Name, seen[info.Pid])
		}
	}
	if entries, _ := os.ReadDir(root); len(list) != len(seen) || len(entries) != len(seen)+1 {
		t.Errorf("got %d workers and %v for %d names", len(list), entries, len(seen))
	}
}

// LESSONS 4
func TestSharedWorkersAreFoundInARuntimeDirectoryWithALongPath(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	long := filepath.Join(root, strings.Repeat("x", 200-len(root)-1))
	defer os.Remove(long)
	defer clearShared(t, long)
	o := order{Root: long, Name: "long", Env: []string{rootEnv + "=" + root}}
	r := leaveBehind(t, order{Root: o.Root, Name: o.Name, Env: o.Env})
	d := quiet()
	d.RuntimeDir = long
	w := join(t, d, o.Name, o.command())
	if ask(t, w); w.Pid() != r.Pid || w.Decision().Action != client.Reused {
		t.Errorf("got %d and %+v, want %d reused", w.Pid(), w.Decision(), r.Pid)
	}
	if dir := w.Process().Dir(); strings.HasPrefix(dir, root) || len(w.Process().Socket()) > 100 {
		t.Errorf("the instance directory is %s", dir)
	}
	if records, _ := filepath.Glob(filepath.Join(long, "names", "*.json")); len(records) != 1 {
		t.Errorf("got records %v, want one", records)
	}
	if err := d.Stop(t.Context(), o.Name); err != nil {
		t.Error(err)
	}
	gone(t, w.Process().Dir(), w.Pid())
}

// LESSONS 25
func TestProgramInsideASharedWorkerMayCallThatWorker(t *testing.T) {
	t.Parallel()
	o := order{Root: newSharedRoot(t), Name: "nested"}
	w := join(t, quiet(), o.Name, o.command())
	reply, err := client.Call(limited(t), w, visit, visitRequest{CLI: &o})
	if err != nil {
		t.Fatal(err)
	}
	if r := reply.Inner; r.Err != "" || r.Pid != w.Pid() || r.Action != client.Reused {
		t.Errorf("got %+v, want a call on worker %d itself", r, w.Pid())
	}
	other := order{Root: o.Root, Name: "other", Limit: 10 * time.Second}
	if reply, err = client.Call(limited(t), w, visit, visitRequest{CLI: &other}); err != nil {
		t.Fatal(err)
	}
	if r := reply.Inner; r.Err != "" || r.Pid == w.Pid() || r.Action != client.Started {
		t.Errorf("got %+v, want a worker of another name", r)
	}
}

// LESSONS 25
func TestProgramInsideASharedWorkerCannotReplaceThatWorker(t *testing.T) {
	t.Parallel()
	o := order{Root: newSharedRoot(t), Name: "nested"}
	w := join(t, quiet(), o.Name, o.command())
	reply, err := client.Call(limited(t), w, visit, visitRequest{
		CLI: &order{Root: o.Root, Name: o.Name, Args: []string{"other"}, Limit: 10 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := reply.Inner; !r.Nested || r.Elapsed > 5*time.Second {
		t.Errorf("got %+v, want lifecycle.ErrNested at once", r)
	}
	ask(t, w)
	if pids := serving(t, o.Root); len(pids) != 1 {
		t.Errorf("workers %v serve, want %d alone", pids, w.Pid())
	}
}

// before returns the variable that makes a worker run a program before it
// serves.
func before(o order) string { return beforeEnv + "=" + o.text() }

// LESSONS 25
func TestProgramInsideAWorkerThatDoesNotServeYetDoesNotWaitForIt(t *testing.T) {
	t.Parallel()
	root, log := newSharedRoot(t), t.TempDir()
	inner := order{Root: root, Name: "nested", Limit: 10 * time.Second}
	cmd := shared(root, logEnv+"="+log, before(inner))
	w := join(t, quiet(), "nested", cmd)
	if r := ask(t, w).Before; r == nil || !r.Nested || r.Elapsed > 5*time.Second {
		t.Errorf("got %+v, want lifecycle.ErrNested at once", r)
	}
	if got := starts(t, log); len(got) != 1 {
		t.Errorf("workers %v were started, want one", got)
	}
}

// LESSONS 25
func TestWorkersThatStartEachOtherBeforeTheyServeEnd(t *testing.T) {
	t.Parallel()
	root, log := newSharedRoot(t), t.TempDir()
	first := order{Root: root, Name: "first", Limit: 10 * time.Second}
	second := order{Root: root, Name: "second", Env: []string{before(first)}, Limit: 20 * time.Second}
	w := join(t, quiet(), first.Name, shared(root, logEnv+"="+log, before(second)))
	if r := ask(t, w).Before; r == nil || r.Err != "" || r.Action != client.Started {
		t.Fatalf("got %+v, want the second worker started", r)
	}
	d := quiet()
	d.RuntimeDir = root
	other, err := d.Find(t.Context(), second.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if r := ask(t, other).Before; r == nil || !r.Nested || r.Elapsed > 5*time.Second {
		t.Errorf("got %+v, want lifecycle.ErrNested at once", r)
	}
	if got := starts(t, log); len(got) != 2 {
		t.Errorf("workers %v were started, want two", got)
	}
}

// Two workers that are started at the same time, by programs that are in
// neither, and that each need the other one cannot know of each other.
// LESSONS 18, 25
func TestWorkersThatNeedEachOtherEndWithTheirStartTimeout(t *testing.T) {
	t.Parallel()
	root, log := newSharedRoot(t), t.TempDir()
	gate := filepath.Join(log, "gate")
	ctx := limited(t)
	var wg sync.WaitGroup
	for name, other := range map[string]string{"first": "second", "second": "first"} {
		wg.Go(func() {
			cmd := shared(root, logEnv+"="+log, gateEnv+"="+gate, before(order{Root: root, Name: other}))
			cmd.StartTimeout = 2 * time.Second
			_, err := quiet().Attach(ctx, name, cmd)
			if _, ok := errors.AsType[*client.StartError](err); !ok {
				t.Errorf("%s: got %v, want a *client.StartError", name, err)
			}
		})
	}
	await(t, "the start of both", func() bool {
		data, _ := os.ReadFile(filepath.Join(log, startsName))
		return strings.Count(string(data), "\n") == 2
	})
	must(os.WriteFile(gate, nil, 0o600))
	wg.Wait()
	await(t, "the end of all", func() bool { return len(belonging(root)) == 0 })
	if n := len(starts(t, log)); n > 4 {
		t.Errorf("%d workers were started", n)
	}
}

// LESSONS 25
func TestWorkersStartedFromWithinEachOtherAreSixteenAtMost(t *testing.T) {
	t.Parallel()
	root, log := newSharedRoot(t), t.TempDir()
	w := join(t, quiet(), "deep", shared(root, logEnv+"="+log, before(order{Root: root})))
	if r := ask(t, w).Before; r == nil || r.Err != "" {
		t.Errorf("got %+v, want another worker", r)
	}
	if got := starts(t, log); len(got) != 16 {
		t.Errorf("%d workers were started, want 16", len(got))
	}
	d := quiet()
	d.RuntimeDir = root
	last, err := d.Find(t.Context(), "deep"+strings.Repeat("+", 15))
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	if r := ask(t, last).Before; r == nil || !r.Nested || !strings.Contains(r.Err, lifecycle.ErrNested.Error()) {
		t.Errorf("got %+v, want lifecycle.ErrNested", r)
	}
}
