package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/transport"
)

// chore is something for a worker's shell to do: it waits for the gate and then
// makes the mark, which are files.
type chore struct{ gate, mark string }

func newChore(t testing.TB) chore {
	dir := t.TempDir()
	return chore{filepath.Join(dir, "gate"), filepath.Join(dir, "mark")}
}

func (c chore) script() string {
	return fmt.Sprintf("while [ ! -e %s ]; do sleep 0.01; done; echo done >%s", c.gate, c.mark)
}

func (c chore) open() { must(os.WriteFile(c.gate, nil, 0o600)) }

func (c chore) done() bool {
	_, err := os.Lstat(c.mark)
	return err == nil
}

// playNotify leaves a chore to a shared worker, which stays for no client that
// has left, and then returns from main, or waits for its death.
func playNotify(args []string) int {
	c := chore{args[0], args[1]}
	o := order{Root: os.Getenv(rootEnv), Idle: time.Millisecond}
	w, err := quiet().Attach(context.Background(), "notified", o.command())
	must(err)
	must(client.Notify(context.Background(), w, shell, c.script()))
	tell(found{Pid: w.Pid(), Dir: w.Process().Dir()})
	if args[2] == "killed" {
		block()
	}
	return 0
}

// An idle worker does not leave before what it was told is done.
func TestNotificationOutlivesItsSender(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"killed", "returns"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			root, c := newSharedRoot(t), newChore(t)
			sender := run(t, playing(t, root, fmt.Sprintf("notify %s %s %s", c.gate, c.mark, how)))
			w := sender.found(t)
			if how == "killed" {
				sender.signal(syscall.SIGKILL)
			}
			io.Copy(io.Discard, sender.out) // until it is gone
			meanwhile(300 * time.Millisecond)
			if c.done() || !alive(w.Pid) {
				t.Fatalf("done %v, the worker is alive %v", c.done(), alive(w.Pid))
			}
			c.open()
			w.gone(t)
			if !c.done() {
				t.Error("the worker has left without doing what it was told")
			}
		})
	}
}

func TestStopWaitsForANotificationWithinTheGrace(t *testing.T) {
	t.Parallel()
	cmd, c := self(), newChore(t)
	cmd.Grace = 2 * patience
	w := startWith(t, &client.Dialer{}, cmd)
	if err := client.Notify(t.Context(), w, shell, c.script()); err != nil {
		t.Fatal(err)
	}
	awaitHandler(w, "exec.(*Cmd)")
	cut(t, w) // it is not the connection's
	await(t, "another connection", func() bool {
		_, err := client.Call(t.Context(), w, echo, nil)
		return err == nil
	})
	if status, err := w.Status(t.Context()); err != nil || status.InFlight != 1 {
		t.Errorf("%d calls in flight, want the notification; %v", status.InFlight, err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- w.Stop(t.Context()) }()
	meanwhile(200 * time.Millisecond)
	if len(stopped) > 0 {
		t.Fatalf("it did not wait: %v", <-stopped)
	}
	c.open()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if !c.done() {
		t.Error("the worker has left without doing what it was told")
	}
}

// LESSONS 26: nobody waits for the outcome, and it is not lost all the same.
func TestNotificationThatFailsIsLoggedAndTheWorkerLives(t *testing.T) {
	t.Parallel()
	for how, want := range map[string]string{"panic": "boom", "missing file": "/nonexistent/file"} {
		book := newLog()
		w := startWith(t, &client.Dialer{Logger: book.logger}, self())
		if err := client.Notify(t.Context(), w, fail, how); err != nil {
			t.Fatal(err)
		}
		var e *logrus.Entry
		await(t, "the warning", func() bool { e = book.find("notification failed"); return e != nil })
		text := fmt.Sprint(e.Data)
		if e.Level != logrus.WarnLevel || e.Data["method"] != "fail" || !strings.Contains(text, want) {
			t.Errorf("%s: got %v %s", how, e.Level, text)
		}
		if strings.Contains(text, "failBy") != (how == "panic") {
			t.Errorf("%s: the stack is not what it should be: %s", how, text)
		}
		if _, err := client.Call(t.Context(), w, echo, nil); err != nil {
			t.Errorf("a call afterwards: %v", err)
		}
	}
}

func TestNotificationThatCannotRunIsAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	checkRefused(t, client.Notify(t.Context(), w, transport.Method[int, int]("nope"), 1), transport.CodeUnknownMethod)
	checkRefused(t, client.Notify(t.Context(), w, transport.Method[countReq, int](count), countReq{}), transport.CodeUnknownMethod)
	checkRefused(t, client.Notify(t.Context(), w, checked, evenRequest{3}), transport.CodeInvalid)
	_, err := w.Open(t.Context(), &client.Request{Method: "count", Kind: transport.KindStream, Notify: true})
	checkRefused(t, err, transport.CodeInvalid)
	if err := client.Notify(t.Context(), w, end, "exit 3"); err != nil && !errors.Is(err, client.ErrWorkerExited) {
		t.Error(err)
	}
	awaitDone(t, "the worker's end", w.Done())
}
