package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// join attaches to a worker, and lets go of it when the test ends.
func join(t testing.TB, d *client.Dialer, name string, cmd *lifecycle.Command) *client.Worker {
	t.Helper()
	w, err := d.Attach(limited(t), name, cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// limited is the context of what must not take for ever.
func limited(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// ask makes a call that has to be answered by this very worker.
func ask(t testing.TB, w *client.Worker) visitReply {
	t.Helper()
	reply, err := client.Call(limited(t), w, visit, visitRequest{N: 41})
	if err != nil || reply.N != 42 || reply.Pid != w.Pid() {
		t.Errorf("got %+v, %v, want an answer from %d", reply, err, w.Pid())
	}
	return reply
}

// executableFile writes an executable file that no process has open any more.
func executableFile(t testing.TB, path string, content []byte) {
	t.Helper()
	syscall.ForkLock.RLock() // else a child that is just being started has it open
	err := os.WriteFile(path+".new", content, 0o700)
	syscall.ForkLock.RUnlock()
	if err := errors.Join(err, os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

func readExecutable(t testing.TB) []byte {
	t.Helper()
	content, err := os.ReadFile(executable())
	if err != nil {
		t.Fatal(err)
	}
	return content
}

type testConfig struct{ Level int }

// tool describes a copy of the test worker in a directory of its own, with all
// that can differ.
func tool(t testing.TB, root string) *lifecycle.Command {
	t.Helper()
	cmd := shared(root, flavorEnv+"=sweet", "OTHER=1")
	cmd.Path = filepath.Join(t.TempDir(), "tool")
	executableFile(t, cmd.Path, readExecutable(t))
	cmd.Args = []string{"-a"}
	cmd.Dir = t.TempDir()
	cmd.Config = testConfig{1}
	cmd.FingerprintEnv = []string{flavorEnv}
	return cmd
}

// setEnv returns the environment with another value.
func setEnv(env []string, name, value string) []string {
	return append(slices.Clone(env), name+"="+value)
}

// LESSONS 20
func TestConfigurationThatDiffersGetsANewWorker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tests := map[string]struct {
		change func(*lifecycle.Command)
		is     func(visitReply) bool
	}{
		"executable": {func(c *lifecycle.Command) { executableFile(t, c.Path, append(readExecutable(t), 0)) }, nil},
		"args": {func(c *lifecycle.Command) { c.Args = []string{"-b"} },
			func(r visitReply) bool { return slices.Equal(r.Args, []string{"-b"}) }},
		"env " + flavorEnv: {func(c *lifecycle.Command) { c.Env = setEnv(c.Env, flavorEnv, "sour") },
			func(r visitReply) bool { return r.Flavor == "sour" }},
		"dir":    {func(c *lifecycle.Command) { c.Dir = dir }, func(r visitReply) bool { return r.Dir == dir }},
		"limits": {func(c *lifecycle.Command) { c.Limits.GoMaxProcs = 1 }, nil},
		"config": {func(c *lifecycle.Command) { c.Config = testConfig{2} }, func(r visitReply) bool { return string(r.Config) == `{"Level":2}` }},
	}
	for field, test := range tests {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			root := newSharedRoot(t)
			cmd := tool(t, root)
			old := join(t, quiet(), "tool", cmd)
			if r := ask(t, old); test.is != nil && test.is(r) {
				t.Errorf("the old worker is %+v", r)
			}
			test.change(cmd)
			w := join(t, quiet(), "tool", cmd)
			d := w.Decision()
			if d.Action != client.Replaced || d.Previous != old.Pid() || w.Pid() == old.Pid() {
				t.Errorf("got %d and %+v, want another one than %d", w.Pid(), d, old.Pid())
			}
			if len(d.Differences) != 1 || d.Differences[0].Field != field || !strings.Contains(d.Reason, d.Differences[0].String()) {
				t.Errorf("got %+v, want %s", d, field)
			}
			if r := ask(t, w); test.is != nil && !test.is(r) {
				t.Errorf("the new worker is %+v", r)
			}
			again := join(t, quiet(), "tool", cmd)
			if again.Pid() != w.Pid() || again.Decision().Action != client.Reused {
				t.Errorf("got %d, %+v, want the new one once more", again.Pid(), again.Decision())
			}
			ask(t, old) // which serves those it has
			old.Close()
			gone(t, old.Process().Dir(), old.Pid())
		})
	}
}

// LESSONS 20, 21
func TestConfigurationThatIsTheSameReusesTheWorker(t *testing.T) {
	t.Parallel()
	root := newSharedRoot(t)
	cmd := tool(t, root)
	w := join(t, quiet(), "tool", cmd)
	other := filepath.Join(t.TempDir(), "tool")
	for what, change := range map[string]func(*lifecycle.Command){
		"nothing":             func(*lifecycle.Command) {},
		"time of the file":    func(c *lifecycle.Command) { must(os.Chtimes(c.Path, time.Now(), time.Now())) },
		"the same bytes":      func(c *lifecycle.Command) { executableFile(t, c.Path, readExecutable(t)) },
		"copied elsewhere":    func(c *lifecycle.Command) { executableFile(t, other, readExecutable(t)); c.Path = other },
		"another variable":    func(c *lifecycle.Command) { c.Env = setEnv(c.Env, "OTHER", "2") },
		"lifetimes":           func(c *lifecycle.Command) { c.IdleTimeout, c.MaxLifetime, c.Grace = 1, time.Hour, time.Second },
		"level of the log":    func(c *lifecycle.Command) { c.LogLevel = "trace" },
		"the name it is told": func(c *lifecycle.Command) { c.Name = "another" },
	} {
		changed := *cmd
		change(&changed)
		again := join(t, quiet(), "tool", &changed)
		if d := again.Decision(); d.Action != client.Reused || again.Pid() != w.Pid() || len(d.Differences) > 0 {
			t.Errorf("%s: got %d and %+v, want %d reused", what, again.Pid(), d, w.Pid())
		}
		ask(t, again)
	}
}

func TestNewWorkerAnswersBeforeTheOldOneTakesNoMoreClients(t *testing.T) {
	t.Parallel()
	root, log := newSharedRoot(t), t.TempDir()
	gate := filepath.Join(log, "gate")
	cmd := shared(root, logEnv+"="+log, flavorEnv+"=old")
	cmd.FingerprintEnv = []string{flavorEnv}
	old := join(t, quiet(), "tool", cmd)
	next := *cmd
	next.Env = setEnv(setEnv(cmd.Env, flavorEnv, "new"), gateEnv, gate)
	ctx, replaced := limited(t), make(chan *client.Worker)
	go func() {
		defer close(replaced)
		w, err := quiet().Attach(ctx, "tool", &next)
		if err != nil {
			t.Error(err)
			return
		}
		replaced <- w
	}()
	await(t, "the start of the new worker", func() bool { return len(starts(t, log)) == 2 })
	for range 20 { // the new one waits at its gate
		w := join(t, quiet(), "tool", cmd)
		if w.Pid() != old.Pid() || w.Decision().Action != client.Reused {
			t.Errorf("got %d, %+v, want the old one, %d", w.Pid(), w.Decision(), old.Pid())
		}
		ask(t, w)
		w.Close()
	}
	must(os.WriteFile(gate, nil, 0o600))
	w := <-replaced
	if w == nil {
		return
	}
	defer w.Close()
	d := quiet()
	d.RuntimeDir = root
	current, err := d.Find(t.Context(), "tool")
	if err != nil {
		t.Fatal(err)
	}
	defer current.Close()
	if r := ask(t, current); current.Pid() != w.Pid() || r.Flavor != "new" {
		t.Errorf("got %d, %+v, want %d", current.Pid(), r, w.Pid())
	}
	if got := starts(t, log); len(got) != 2 {
		t.Errorf("workers %v were started, want 2", got)
	}
	ask(t, old)
}

func TestCallThatRunsWhileItsWorkerIsReplacedFinishes(t *testing.T) {
	t.Parallel()
	root, gate := newSharedRoot(t), filepath.Join(t.TempDir(), "gate")
	cmd := shared(root)
	old := join(t, quiet(), "tool", cmd)
	ctx, reply := limited(t), make(chan visitReply, 1)
	go func() {
		r, err := client.Call(ctx, old, visit, visitRequest{N: 7, Gate: gate})
		if err != nil {
			t.Error(err)
		}
		reply <- r
	}()
	awaitHandler(old, "awaitFile")
	next := *cmd
	next.Args = []string{"next"}
	w := join(t, quiet(), "tool", &next)
	ask(t, w)
	await(t, "the old worker to take no more clients", func() bool {
		status, err := old.Status(t.Context())
		return err == nil && status.Leaving != ""
	})
	must(os.WriteFile(gate, nil, 0o600))
	if r := <-reply; r.N != 8 || r.Pid != old.Pid() {
		t.Errorf("got %+v, want 8 from %d", r, old.Pid())
	}
	old.Close()
	gone(t, old.Process().Dir(), old.Pid())
}

// version writes a program that becomes the test worker, of a version that its
// bytes differ in.
func version(t testing.TB, path string, n int) {
	t.Helper()
	executableFile(t, path, fmt.Appendf(nil, "#!/bin/sh\n%[1]s=%[2]d\nexport %[1]s\nexec %[3]s \"$@\"\n", flavorEnv, n, executable()))
}

// LESSONS 19, 20, 24
func TestNoCallFailsDuringTwentyRelaunches(t *testing.T) {
	t.Parallel()
	const relaunches, clients = 20, 6
	root, log := newSharedRoot(t), t.TempDir()
	path := filepath.Join(t.TempDir(), "tool")
	version(t, path, 0)
	cmd := shared(root, logEnv+"="+log)
	cmd.Path = path
	join(t, quiet(), "tool", cmd)
	var newest, answered atomic.Int64
	ctx, over := limited(t), make(chan struct{})
	var crowd sync.WaitGroup
	for i := range clients {
		pause := time.Duration(i%2) * 2 * time.Millisecond
		crowd.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				flavor, err := visitAgain(ctx, cmd, pause)
				if err != nil {
					t.Error(err)
					return
				}
				newest.Store(max(newest.Load(), flavor))
				answered.Add(1)
			}
		})
	}
	for n := 1; n <= relaunches && !t.Failed(); n++ {
		version(t, path, n)
		await(t, fmt.Sprintf("an answer of version %d", n), func() bool { return newest.Load() == int64(n) || t.Failed() })
	}
	close(over)
	crowd.Wait()
	if got := len(starts(t, log)); got != relaunches+1 {
		t.Errorf("%d workers were started for %d versions", got, relaunches+1)
	}
	t.Logf("%d attaches", answered.Load())
}

// visitAgain attaches, makes some calls with pauses of up to this before them, and
// returns the version of the worker.
func visitAgain(ctx context.Context, cmd *lifecycle.Command, pause time.Duration) (flavor int64, err error) {
	w, err := quiet().Attach(ctx, "tool", cmd)
	if err != nil {
		return 0, err
	}
	defer w.Close()
	for n := range 3 {
		meanwhile(rand.N(pause + 1))
		reply, err := client.Call(ctx, w, visit, visitRequest{N: n})
		if err != nil || reply.N != n+1 || reply.Pid != w.Pid() {
			return 0, fmt.Errorf("got %+v from %d: %w", reply, w.Pid(), err)
		}
		if flavor, err = strconv.ParseInt(reply.Flavor, 10, 64); err != nil {
			return 0, err
		}
	}
	return flavor, nil
}

// LESSONS 42
func TestReplacedWorkerIsGoneAfterItsDrainTimeout(t *testing.T) {
	t.Parallel()
	for _, drain := range []time.Duration{300 * time.Millisecond, -1} {
		t.Run(drain.String(), func(t *testing.T) {
			t.Parallel()
			root := newSharedRoot(t)
			cmd := shared(root)
			cmd.DrainTimeout, cmd.Grace = drain, 100*time.Millisecond
			old := join(t, quiet(), "tool", cmd)
			ctx, failed := limited(t), make(chan error, 1)
			go func() {
				_, err := client.Call(ctx, old, wait, waitRequest{Stubborn: true})
				failed <- err
			}()
			awaitHandler(old, "handleWait")
			next := *cmd
			next.Args = []string{"next"}
			began := time.Now()
			join(t, quiet(), "tool", &next)
			if err := <-failed; !errors.Is(err, client.ErrWorkerExited) && !errors.Is(err, client.ErrConnectionLost) {
				t.Errorf("got %v, want the worker's end", err)
			}
			if elapsed := time.Since(began); elapsed < drain {
				t.Errorf("the call was cut off after %v, before the drain timeout of %v", elapsed, drain)
			}
			gone(t, old.Process().Dir(), old.Pid())
		})
	}
}

// LESSONS 19
func TestToolsThatInsistOnDifferentConfigurationsDoNotThrash(t *testing.T) {
	t.Parallel()
	root, book := newSharedRoot(t), newLog()
	d := &client.Dialer{Logger: book.logger}
	cmds := []*lifecycle.Command{shared(root), shared(root)}
	cmds[0].Args, cmds[1].Args = []string{"mine"}, []string{"yours"}
	const free = 4 // one of them starts, two are new or return for the first time, one returns for the second
	for i := range free {
		w := join(t, d, "tool", cmds[i%2])
		if d := w.Decision(); d.Waited >= 500*time.Millisecond { // for a worker that is giving its name back, perhaps
			t.Errorf("attach %d has waited: %+v", i, d)
		}
		w.Close()
	}
	if e := book.find("different configurations"); e != nil {
		t.Errorf("got %q before anybody had to wait", e.Message)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	_, err := d.Attach(ctx, "tool", cmds[0])
	if !errors.Is(err, client.ErrContested) || !strings.Contains(err.Error(), "mine") || !strings.Contains(err.Error(), "yours") {
		t.Errorf("got %v, want one that names what differs", err)
	}
	other := shared(root)
	other.Args = []string{"new"}
	current := join(t, d, "tool", cmds[1])
	if d := current.Decision(); d.Action != client.Reused {
		t.Errorf("got %+v, want the worker that nobody could replace", d)
	}
	w := join(t, d, "tool", cmds[0])
	decision := w.Decision()
	if decision.Action != client.Replaced || decision.Waited == 0 || !strings.Contains(decision.WaitedFor, "back and forth") {
		t.Errorf("got %+v, want one that has waited", decision)
	}
	e := book.find("different configurations")
	if e == nil || e.Level != logrus.WarnLevel || !strings.Contains(e.Message, "mine") || !strings.Contains(e.Message, "yours") {
		t.Errorf("got %+v, want a warning that names what differs", e)
	}
	if d := join(t, d, "tool", other).Decision(); d.Waited >= 500*time.Millisecond {
		t.Errorf("a new configuration has waited: %+v", d)
	}
}
