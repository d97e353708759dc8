package client_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/server"
	"github.com/detached-workers/unref/transport"
)

// The contract of the worker of these tests, which prints what it is told to.
const (
	Say  transport.Method[string, struct{}]   = "say"
	Quit transport.Method[struct{}, struct{}] = "quit"

	printer    = "printer"
	linesFirst = "first"
	linesLast  = "last words"
)

// Before TestMain makes the test binary the worker of the examples it may be this one.
func init() {
	var mux server.Mux
	server.Handle(&mux, Say, func(_ context.Context, text string) (struct{}, error) {
		_, err := os.Stdout.WriteString(text)
		return struct{}{}, err
	})
	server.Handle(&mux, Quit, func(context.Context, struct{}) (struct{}, error) {
		os.Exit(0)
		return struct{}{}, nil
	})
	server.MainIfWorker(printer, &mux)
}

// silent is a dialer whose logger takes nothing.
func silent() *client.Dialer {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return &client.Dialer{Logger: log, Observer: true}
}

// startPrinter starts a shared worker that prints, and returns the starter's end and another client's.
func startPrinter(t *testing.T) (owner, other *client.Worker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	owner, err := silent().Attach(ctx, t.Name(), lifecycle.Self(printer))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := owner.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	other, err = silent().Find(ctx, t.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	return owner, other
}

func say(t *testing.T, w *client.Worker, text string) {
	t.Helper()
	if _, err := client.Call(t.Context(), w, Say, text); err != nil {
		t.Fatal(err)
	}
}

func textsOf(w *client.Worker, past int64) []string {
	var texts []string
	for line := range w.Lines(context.Background(), past, false) {
		texts = append(texts, line.Text)
	}
	return texts
}

func TestLinesYieldsWhatIsKept(t *testing.T) {
	_, w := startPrinter(t)
	say(t, w, "one\ntwo\nunfinished")
	for past, want := range map[int64][]string{
		-1: {"one", "two", "unfinished"}, 0: nil, int64(len("two\nunfinished")): {"two", "unfinished"},
	} {
		if got := textsOf(w, past); !slices.Equal(got, want) {
			t.Errorf("the newest %d bytes: got %q, want %q", past, got, want)
		}
	}
}

func TestLinesLeavesTheLoopWhenItsCallerDoes(t *testing.T) {
	_, w := startPrinter(t)
	say(t, w, "one\ntwo\n")
	for line := range w.Lines(t.Context(), -1, true) {
		if line.Text != "one" {
			t.Errorf("got %q", line.Text)
		}
		break
	}
}

func TestLinesFollowsToTheWorkersLastWords(t *testing.T) {
	for _, how := range []string{"stop", "kill", "exit"} {
		t.Run(how, func(t *testing.T) {
			owner, w := startPrinter(t)
			say(t, w, linesFirst+"\n")
			var got []string
			for line := range w.Lines(t.Context(), -1, true) {
				if line.Entry != nil {
					continue // the worker says why it leaves
				}
				got = append(got, line.Text)
				if line.Text == linesFirst {
					say(t, w, linesLast)
					end(t, owner, how)
				}
			}
			if want := []string{linesFirst, linesLast}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// end ends the worker, as its starter or as the worker itself.
func end(t *testing.T, w *client.Worker, how string) {
	t.Helper()
	var err error
	switch how {
	case "stop":
		err = w.Stop(t.Context())
	case "kill":
		err = w.Kill()
	case "exit":
		if _, callErr := client.Call(t.Context(), w, Quit, struct{}{}); callErr == nil {
			t.Error("the worker answered")
		}
	}
	if err != nil {
		t.Error(err)
	}
}

func TestLinesEndsWithItsContextAndAtClose(t *testing.T) {
	_, w := startPrinter(t)
	say(t, w, linesFirst+"\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for range w.Lines(ctx, -1, true) {
		n++
		cancel()
	}
	for range w.Lines(t.Context(), -1, true) {
		n++
		w.Close()
	}
	if n != 2 {
		t.Errorf("got %d lines, want one of each loop", n)
	}
}

func TestLinesGoesToEveryLoopAtOnce(t *testing.T) {
	const loops, lines = 4, 200
	_, w := startPrinter(t)
	var wg sync.WaitGroup
	ready := make(chan struct{}, loops) // each loop says once that it reads
	for range loops {
		wg.Go(func() {
			n := 0
			for line := range w.Lines(t.Context(), -1, true) {
				if line.Text == linesFirst {
					ready <- struct{}{}
					continue
				}
				if want := fmt.Sprint(n); line.Text != want {
					t.Errorf("got %q, want %q", line.Text, want)
				}
				if n++; n == lines {
					break
				}
			}
		})
	}
	say(t, w, linesFirst+"\n")
	for range loops {
		<-ready
	}
	for n := range lines {
		say(t, w, fmt.Sprintln(n))
	}
	wg.Wait()
}
