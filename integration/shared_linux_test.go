package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// sharedIn describes the test binary as a shared worker that stays until it is
// stopped.
func sharedIn(dir string) *lifecycle.Command {
	cmd := self()
	cmd.RuntimeDir = dir
	cmd.IdleTimeout = -1
	return cmd
}

// attach attaches to a shared worker that is gone when the test ends.
func attach(t testing.TB, d client.Dialer, cmd *lifecycle.Command) *client.Worker {
	t.Helper()
	if d.Logger == nil {
		d.Logger = newLog().logger
	}
	w, err := d.Attach(t.Context(), t.Name(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Kill() })
	return w
}

// mustEcho makes a call that has to succeed.
func mustEcho(t testing.TB, w *client.Worker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if got, err := client.Call(ctx, w, echo, []byte("hello")); err != nil || string(got) != "hello" {
		t.Fatalf("got %q, %v", got, err)
	}
}

const soon = 300 * time.Millisecond // the answer timeout of tests in which nothing answers

func TestStoppedSharedWorkerIsKilledAndReplaced(t *testing.T) {
	dir := shortDir(t)
	first := attach(t, client.Dialer{}, sharedIn(dir))
	suspend(t, first.Pid())
	second := attach(t, client.Dialer{AnswerTimeout: soon}, sharedIn(dir))
	mustEcho(t, second)
	d := second.Decision()
	if d.Action != client.Replaced || d.Previous != first.Pid() || !strings.Contains(d.Reason, "did not answer") || !strings.Contains(d.Reason, "was killed") {
		t.Errorf("got %+v", d)
	}
	gone(t, first.Process().Dir(), first.Pid())
	awaitDone(t, "the end of the first worker", first.Done())
	if !errors.Is(first.Err(), client.ErrWorkerExited) {
		t.Errorf("the first client got %v", first.Err())
	}
}

// record is a registry record as the file has it.
func record(t *testing.T, dir string) (path string, rec map[string]any) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "names", "*.json"))
	if len(files) != 1 {
		t.Fatalf("records: %q", files)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &rec); err != nil {
		t.Fatal(err)
	}
	return files[0], rec
}

func writeRecord(t *testing.T, path string, rec map[string]any) {
	t.Helper()
	data, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// LESSONS 15, 17: a record names somebody else's socket and process. Neither is
// touched, whether the pid alone is wrong or all that can be known of a process
// from outside is right.
func TestForgedRecordHarmsNobody(t *testing.T) {
	for _, start := range []string{"another start time", "the right start time"} {
		t.Run(start, func(t *testing.T) {
			dir, theirs := shortDir(t), shortDir(t)
			first := attach(t, client.Dialer{}, sharedIn(dir))
			path, rec := record(t, dir)
			bystander := exec.CommandContext(t.Context(), "sleep", "1000")
			if err := bystander.Start(); err != nil {
				t.Fatal(err)
			}
			defer bystander.Wait()
			defer bystander.Process.Kill()
			l, err := net.Listen("unix", filepath.Join(theirs, "s")) // which never answers
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			process := rec["process"].(map[string]any)
			process["pid"] = bystander.Process.Pid
			if start == "the right start time" {
				process["start"] = statFields(t, bystander.Process.Pid)[19]
			}
			rec["dir"] = theirs
			writeRecord(t, path, rec)

			second := attach(t, client.Dialer{AnswerTimeout: soon}, sharedIn(dir))
			mustEcho(t, second)
			if d := second.Decision(); d.Action != client.Replaced {
				t.Errorf("got %+v", d)
			}
			if !alive(bystander.Process.Pid) {
				t.Error("the bystander was killed")
			}
			conn, err := net.Dial("unix", l.Addr().String())
			if err != nil {
				t.Fatalf("the foreign socket: %v", err)
			}
			conn.Close()
			mustEcho(t, first) // it has clients, and does not know of the forgery
		})
	}
}

func TestRegistryThatOthersCouldWriteToIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(names string) error{
		"open to others":     func(names string) error { return os.Chmod(names, 0o777) },
		"is a symbolic link": func(names string) error { os.Remove(names); return os.Symlink(t.TempDir(), names) },
		"is not a directory": func(names string) error { os.Remove(names); return os.WriteFile(names, nil, 0o600) },
	} {
		dir := shortDir(t)
		names := filepath.Join(dir, "names")
		if err := errors.Join(os.Mkdir(names, 0o700), spoil(names)); err != nil {
			t.Fatal(err)
		}
		w, err := quiet().Attach(t.Context(), "n", sharedIn(dir))
		if err == nil {
			w.Kill()
		}
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), names) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A directory that is removed takes no call away, and nobody stays behind in it.
func TestRemovedDirectoryMakesASharedWorkerLeave(t *testing.T) {
	for _, attached := range []bool{true, false} {
		t.Run(fmt.Sprintf("attached %v", attached), func(t *testing.T) {
			dir := shortDir(t)
			old := attach(t, client.Dialer{}, sharedIn(dir))
			pid := old.Pid()
			if !attached {
				old.Close()
			}
			await(t, "the removal", func() bool { return os.RemoveAll(dir) == nil }) // a file may come meanwhile
			if attached {
				next := attach(t, client.Dialer{}, sharedIn(dir))
				if next.Pid() == pid {
					t.Error("the next client got the old worker")
				}
				mustEcho(t, next)
				mustEcho(t, old)
				old.Close()
			}
			await(t, "the end of the old worker", func() bool { return !alive(pid) })
		})
	}
}

// A full disk is an error that says so, and leaves nothing running.
func TestFullDiskIsAClearError(t *testing.T) {
	dir := shortDir(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16k,mode=700"); err != nil {
		t.Skipf("a small file system can't be mounted here: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	full, err := os.Create(filepath.Join(dir, "full"))
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for err == nil {
		_, err = full.Write(make([]byte, 4096))
	}
	w, err := quiet().Attach(t.Context(), "n", sharedIn(dir))
	if err == nil {
		w.Kill()
		t.Fatal("it worked")
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if left := processesWith("UNREF_RUNTIME_DIR=" + dir); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

func TestReadOnlyDirectoryIsAClearError(t *testing.T) {
	dir := shortDir(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_RDONLY, "mode=700"); err != nil {
		t.Skipf("a read-only file system can't be mounted here: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	w, err := quiet().Attach(t.Context(), "n", sharedIn(dir))
	if err == nil {
		w.Kill()
	}
	if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
}

// Everything that a worker prints reaches everybody who is attached; who comes
// later gets the past if it asks.
func TestEveryClientSeesTheOutput(t *testing.T) {
	dir := shortDir(t)
	starter, second, curious, late := newLog(), newLog(), newLog(), newLog()
	w := attach(t, client.Dialer{Logger: starter.logger}, sharedIn(dir))
	both := attach(t, client.Dialer{Logger: second.logger}, sharedIn(dir))
	if _, err := client.Call(t.Context(), both, printAll, "first"); err != nil {
		t.Fatal(err)
	}
	for name, book := range map[string]*logBook{"the starter": starter, "the second client": second} {
		for _, text := range []string{"println first", "slog first", "logrus first", "child first"} {
			await(t, name+" sees "+text, func() bool { return book.find(text) != nil })
		}
	}
	asks := attach(t, client.Dialer{Logger: curious.logger, PastOutput: -1}, sharedIn(dir))
	doesNot := attach(t, client.Dialer{Logger: late.logger}, sharedIn(dir))
	if _, err := client.Call(t.Context(), w, printAll, "then"); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"println first", "child first", "println then"} {
		await(t, "the curious client sees "+text, func() bool { return curious.find(text) != nil })
	}
	await(t, "the late client sees what is printed now", func() bool { return late.find("child then") != nil })
	if e := late.find("first"); e != nil {
		t.Errorf("the late client got the past: %q", e.Message)
	}
	if e := curious.find("logrus first"); e.Data["pid"] != w.Pid() || e.Level.String() != "warning" {
		t.Errorf("got %v %v", e.Level, e.Data)
	}
	// What was printed on a client's behalf is logged when its Close returns.
	if _, err := client.Call(t.Context(), doesNot, printAll, "last"); err != nil {
		t.Fatal(err)
	}
	doesNot.Close()
	if late.find("child last") == nil {
		t.Errorf("got %q", late.messages())
	}
	asks.Close()
}

// A client that did not start the worker learns how it ended, and its last words.
func TestAttachedClientLearnsOfACrash(t *testing.T) {
	dir := shortDir(t)
	attach(t, client.Dialer{}, sharedIn(dir))
	w := attach(t, client.Dialer{}, sharedIn(dir))
	_, err := client.Call(t.Context(), w, end, "exit 3")
	exit, ok := errors.AsType[*lifecycle.ExitError](err)
	if !ok || !errors.Is(err, client.ErrWorkerExited) || !strings.Contains(string(exit.Output), "last words") {
		t.Fatalf("got %v", err)
	}
	if exit.Code != 3 && exit.Signal != -1 { // before Linux 6.15 only the starter knows
		t.Errorf("got status %d, signal %d", exit.Code, exit.Signal)
	}
	awaitDone(t, "the end of the worker", w.Done())
}

// One client's misbehaviour is its own affair.
func TestSharedWorkersClientsDoNotDisturbEachOther(t *testing.T) {
	dir := shortDir(t)
	w := attach(t, client.Dialer{}, sharedIn(dir))
	busy := attach(t, client.Dialer{Timeout: -1}, sharedIn(dir))
	for msg, err := range client.Stream(t.Context(), busy, bulk, bulkReq{Messages: 1000, Size: 1 << 20}) {
		// It never reads on. The others go on, and so do its own calls.
		if err != nil || len(msg) != 1<<20 {
			t.Fatalf("got %d bytes, %v", len(msg), err)
		}
		for range 100 {
			mustEcho(t, w)
			mustEcho(t, busy)
		}
		break
	}
	pending := make(chan error, 1)
	go func() {
		_, err := client.Call(context.Background(), busy, wait, waitRequest{})
		pending <- err
	}()
	awaitHandler(w, "handleWait")
	busy.Close()
	if err := <-pending; !errors.Is(err, client.ErrClosed) {
		t.Errorf("got %v", err)
	}
	await(t, "the end of the call of a client that has gone", func() bool {
		list, err := client.Call(t.Context(), w, calls, struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		return len(list) > 0
	})
	mustEcho(t, w)
	await(t, "the worker's right count", func() bool {
		status, err := w.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return status.Clients == 1 && status.InFlight == 0 && status.Done >= 201
	})
}

// Whoever looks at a worker that is to replace another one, and has not done so
// yet, does not make it believe that it was replaced itself.
func TestWorkerThatIsNotPublishedYetStays(t *testing.T) {
	dir := shortDir(t)
	attach(t, client.Dialer{}, sharedIn(dir))
	registry, err := lifecycle.OpenRegistry(dir)
	if err != nil {
		t.Fatal(err)
	}
	claim, err := registry.TryClaim(t.Name())
	if err != nil || claim == nil {
		t.Fatalf("claim the name: %v", err)
	}
	defer claim.Release()
	p, err := claim.Start(t.Context(), sharedIn(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	hello := transport.Hello{Secret: p.Secret(), Features: []string{transport.FeatureObserver}}
	looks := 0
	await(t, "looks at the worker", func() bool {
		conn, err := transport.Dial(t.Context(), p.Socket(), transport.DialConfig{Hello: hello})
		if err == nil {
			looks++
			conn.Close()
		}
		return looks == 20
	})
	select {
	case <-p.Done():
		t.Errorf("it has left: %v", p.Err())
	default:
	}
}

// Each client has a number of calls in flight of its own.
func TestEachClientHasItsOwnLimitOfCalls(t *testing.T) {
	dir := shortDir(t)
	cmd := sharedIn(dir)
	cmd.Env = append(os.Environ(), maxCallsEnv+"=1")
	greedy := attach(t, client.Dialer{}, cmd)
	modest := attach(t, client.Dialer{}, cmd)
	if greedy.Pid() != modest.Pid() {
		t.Fatal("two workers")
	}
	ctx, cancel := context.WithCancel(t.Context())
	pending := make(chan error, 1)
	go func() {
		_, err := client.Call(ctx, greedy, wait, waitRequest{})
		pending <- err
	}()
	awaitHandler(modest, "handleWait")
	if _, err := client.Call(t.Context(), greedy, echo, nil); !errors.Is(err, transport.CodeExhausted) || !client.SafeToRetry(err) {
		t.Errorf("a second call of the greedy client: %v", err)
	}
	mustEcho(t, modest)
	cancel()
	<-pending
}
