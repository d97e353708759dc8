package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/server"
	"github.com/detached-workers/unref/transport"
)

const (
	tester = "tester" // the worker's own name

	// asTool makes the test binary the tool itself.
	asTool = "UNREF_TEST_AS_TOOL"
)

// The contract of the worker of these tests.
const (
	say  transport.Method[string, struct{}]   = "say"
	note transport.Method[string, struct{}]   = "note"
	quit transport.Method[struct{}, struct{}] = "quit"
)

// TestMain makes the test binary the tests, their worker, and the tool.
func TestMain(m *testing.M) {
	if w, err := lifecycle.Current(); w != nil || err != nil {
		server.Main(testMux()) // also for those who name the program by its path
	}
	if os.Getenv(asTool) != "" {
		main()
	}
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0") // else each process takes a second to end under the race detector
	}
	goleak.VerifyTestMain(m)
}

// typed is a message with what JSON has no form for.
type typed struct {
	Small int            `json:"small"`
	Big   uint64         `json:"big"`
	Part  float64        `json:"part"`
	Data  []byte         `json:"data"`
	Names map[int]string `json:"names"`
	When  time.Time      `json:"when"`
}

// detailed is an error with details.
type detailed struct{}

func (detailed) Error() string     { return "it went wrong" }
func (detailed) ErrorDetails() any { return map[string]int{"line": 12} }

func testMux() *server.Mux {
	mux := new(server.Mux)
	server.Handle(mux, transport.Method[cbor.RawMessage, cbor.RawMessage]("echo"),
		func(_ context.Context, v cbor.RawMessage) (cbor.RawMessage, error) { return v, nil })
	server.Handle(mux, transport.Method[typed, typed]("typed"), func(_ context.Context, v typed) (typed, error) { return v, nil })
	server.Handle(mux, transport.Method[struct{}, struct{}]("fail"), func(context.Context, struct{}) (struct{}, error) {
		return struct{}{}, detailed{}
	})
	server.Handle(mux, transport.Method[struct{}, struct{}]("hang"), func(ctx context.Context, _ struct{}) (struct{}, error) {
		<-ctx.Done()
		return struct{}{}, ctx.Err()
	})
	server.HandleStream(mux, transport.StreamMethod[int, int]("count"), func(_ context.Context, n int, send func(int) error) error {
		for i := range n {
			if err := send(i); err != nil {
				return err
			}
		}
		return nil
	})
	server.HandleBidi(mux, transport.BidiMethod[int, int]("double"), func(_ context.Context, s *server.BidiStream[int, int]) error {
		for {
			n, err := s.Recv()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if err := s.Send(2 * n); err != nil {
				return err
			}
		}
	})
	mux.Listener("pipe")
	addOutput(mux)
	return mux
}

// addOutput adds what makes the worker print.
func addOutput(mux *server.Mux) {
	server.Handle(mux, say, func(_ context.Context, text string) (struct{}, error) {
		_, err := os.Stdout.WriteString(text)
		return struct{}{}, err
	})
	server.Handle(mux, note, func(_ context.Context, text string) (struct{}, error) {
		logrus.WithFields(logrus.Fields{"number": 7, "text": "two words"}).Warn(text)
		return struct{}{}, nil
	})
	server.Handle(mux, quit, func(context.Context, struct{}) (struct{}, error) {
		os.Exit(0)
		return struct{}{}, nil
	})
}

// result is what one command line has led to.
type result struct {
	status      int
	out, errors string
}

// unref runs the tool in this process.
func unref(t *testing.T, args ...string) result {
	t.Helper()
	return unrefWith(t, "", args...)
}

// unrefWith is unref with something on standard input.
func unrefWith(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	status := run(ctx, args, strings.NewReader(stdin), &out, &errs)
	if ctx.Err() != nil {
		t.Errorf("unref %q took more than %v", args, patience)
	}
	return result{status, out.String(), errs.String()}
}

// want checks a result's status, and that what was printed, or else complained of, contains each of the texts.
func (r result) want(t *testing.T, status int, texts ...string) {
	t.Helper()
	if r.status != status {
		t.Errorf("exit status %d, want %d", r.status, status)
	}
	where := r.out
	if r.status != exitOK && r.out == "" {
		where = r.errors
	}
	for _, text := range texts {
		if !strings.Contains(where, text) {
			t.Errorf("no %q in it", text)
		}
	}
	if r.status != exitOK && r.out == "" && !strings.HasPrefix(r.errors, "unref: ") {
		t.Error("the complaint does not begin with the tool's name")
	}
	if t.Failed() {
		t.Logf("stdout:\n%s\nstderr:\n%s", r.out, r.errors)
	}
}

// patience bounds every wait.
const patience = time.Minute

// await waits until a condition holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// newRuntimeDir gives the test a runtime directory of its own, with a short path. In the end all workers in it are killed.
func newRuntimeDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ur")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("UNREF_RUNTIME_DIR", dir)
	t.Cleanup(func() {
		killAll(t, dir)
		os.RemoveAll(dir)
	})
	return dir
}

func killAll(t *testing.T, dir string) {
	d := client.Dialer{RuntimeDir: dir}
	await(t, "the end of all workers", func() bool {
		live := living(t, dir)
		for _, i := range live {
			if err := d.Kill(context.Background(), i.ID); err != nil && !errors.Is(err, client.ErrNoWorker) {
				t.Log(err)
			}
		}
		return len(live) == 0
	})
}

// living returns the workers in a runtime directory that live.
func living(t *testing.T, dir string) []*lifecycle.Instance {
	t.Helper()
	list, err := lifecycle.Instances(dir)
	if err != nil {
		t.Fatal(err)
	}
	var live []*lifecycle.Instance
	for _, i := range list {
		if i.Alive {
			live = append(live, i)
		}
	}
	return live
}

// testDialer is a client whose logger takes nothing.
func testDialer() *client.Dialer {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return &client.Dialer{Logger: log}
}

// attach attaches to a shared worker, which is started if need be.
func attach(t *testing.T, name string, cmd *lifecycle.Command) *client.Worker {
	t.Helper()
	w, err := testDialer().Attach(t.Context(), name, cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// startAlone starts a worker that is this process's alone.
func startAlone(t *testing.T) *client.Worker {
	t.Helper()
	w, err := testDialer().Start(t.Context(), lifecycle.Self(tester))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// tell makes a call that has no answer worth looking at.
func tell(t *testing.T, w *client.Worker, m transport.Method[string, struct{}], text string) {
	t.Helper()
	if _, err := client.Call(t.Context(), w, m, text); err != nil {
		t.Fatal(err)
	}
}

// toolCommand is the tool in a process of its own.
func toolCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asTool+"=1")
	return cmd
}

func TestTheCommandLineIsChecked(t *testing.T) {
	newRuntimeDir(t)
	for _, args := range [][]string{
		{"nonsense"}, {"pss"}, {"ps", "--nonsense"}, {"ps", "extra"}, {"logs"}, {"stop"}, {"stop", "--all", "web"}, {"call", "web"},
		{"why", "web", "program"}, {"why", "web", "--"}, {"why", "web", "--config", "{", "--", "program"}, {"top", "--interval", "0"},
		{"ps", "--answer-timeout", "soon"}, {"completion", "tcsh"},
	} {
		r := unref(t, args...)
		if r.status != exitUsage || !strings.HasPrefix(r.errors, "unref: ") || strings.Count(r.errors, "\n") != 1 || r.out != "" {
			t.Errorf("%q: got %+v", args, r)
		}
	}
}

func TestEveryCommandHasAnExample(t *testing.T) {
	for _, cmd := range new(app).command().Commands() {
		if cmd.Example == "" || cmd.Long == "" {
			t.Errorf("%s: there is no example, or no text", cmd.Name())
		}
	}
	unref(t, "help", "call").want(t, exitOK, "$base64", "Examples:")
	unref(t, "--version").want(t, exitOK, "unref version")
}

func TestAMissingWorkerIsAClearError(t *testing.T) {
	newRuntimeDir(t)
	for _, args := range [][]string{
		{"logs", "ghost"}, {"call", "ghost", "echo"}, {"methods", "ghost"}, {"stacks", "ghost"}, {"stop", "ghost"}, {"kill", "ghost"},
		{"restart", "ghost"},
	} {
		r := unref(t, args...)
		r.want(t, exitNo, `"ghost"`, "no such worker")
		if strings.Count(r.errors, "\n") != 1 || strings.Count(r.errors, "ghost") != 1 {
			t.Errorf("%q: got %q, want one line that names it once", args, r.errors)
		}
	}
}

func TestSeveralErrorsStandInLinesOfTheirOwn(t *testing.T) {
	var errs bytes.Buffer
	a := &app{stderr: &errs}
	a.complain(errors.Join(errors.New("one"), &transport.Error{Message: "two", Details: []byte{0x07}}))
	if got := errs.String(); strings.Count(got, "unref: ") != 2 || !strings.HasPrefix(got, "unref: one\nunref: ") || !strings.HasSuffix(got, " (7)\n") {
		t.Errorf("got %q", got)
	}
}

func TestAnUnusableRuntimeDirectoryIsAnError(t *testing.T) {
	unref(t, "ps", "--runtime-dir", "/dev/null").want(t, exitNo, "/dev/null")
}
