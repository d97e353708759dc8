package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// tour shows what is guaranteed. It tries each guarantee on real processes, one after another.
type tour struct {
	out     io.Writer
	err     error // of the first write to out that failed
	command *lifecycle.Command
	dialer  *client.Dialer
	logged  *recorder
	worker  *client.Worker // the one that the first stops share; it is ended by one of them
}

// stop is one stop of the tour. visit returns an error if what it sees is not what is guaranteed.
type stop struct {
	name    string
	promise string
	visit   func(*tour, context.Context) error
}

var stops = []stop{
	{"start", "a worker is a process of its own, and holds nothing of ours", (*tour).visitStart},
	{"call", "calls are typed and answered; a wrong one is answered as well", (*tour).visitCall},
	{"stream", "streams arrive in order; leaving the loop ends the call", (*tour).visitStream},
	{"output", "what a worker prints and logs reaches our logger", (*tour).visitOutput},
	{"timeout", "a call never takes longer than it may", (*tour).visitTimeout},
	{"panic", "a panic fails its call only", (*tour).visitPanic},
	{"crash", "a crash settles all calls, with exit status and last words", (*tour).visitCrash},
	{"kill", "so does a kill from outside, and nothing is left behind", (*tour).visitKill},
	{"attach", "two programs find the same worker; another configuration replaces it", (*tour).visitAttach},
	{"owner death", "when its owner dies a worker goes, with all that is below it", (*tour).visitOwnerDeath},
}

// runTour is the command tour.
func runTour(ctx context.Context, args []string, stdout io.Writer, stderr *os.File) error {
	f := newFlags("tour", "[flags]", "Tour tries what workers guarantee, and says what it does and sees. The exit status is 0 if all guarantees\n"+
		"hold, 1 if one does not, and 2 if the tour could not begin.")
	named := f.String("worker", "", "the worker's `program`; by default demo-worker is found or built")
	verbose := f.Bool("v", false, "show what the workers log")
	if err := parseAlone(f, args, stdout); err != nil {
		return err
	}
	d := newDisplay(stderr)
	path, err := findWorker(ctx, *named, d.Printf)
	if err != nil {
		return err
	}
	return newTour(stdout, d, path, *verbose).walk(ctx)
}

func newTour(out io.Writer, d *display, path string, verbose bool) *tour {
	log, logged := newLogger(d, verbose), &recorder{}
	log.SetLevel(logrus.InfoLevel)
	if !verbose {
		log.SetOutput(io.Discard)
	}
	log.AddHook(logged)
	return &tour{
		out:     out,
		command: &lifecycle.Command{Path: path},
		dialer:  &client.Dialer{Logger: log},
		logged:  logged,
	}
}

// walk visits all stops up to the first that fails.
func (t *tour) walk(ctx context.Context) error {
	defer t.leave(ctx)
	for i, s := range stops {
		t.printf("%d. %s: %s\n", i+1, s.name, s.promise)
		err := s.visit(t, ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			t.printf("   FAIL: %s\n", indent(err.Error()))
			return errFound
		}
		t.printf("   ok\n")
	}
	t.printf("All %d guarantees hold.\n", len(stops))
	return t.err
}

// leave ends what a stop that has failed has left, at once if ctx has ended.
func (t *tour) leave(ctx context.Context) {
	if t.worker != nil {
		_ = t.worker.Stop(ctx) // the outcome of the tour is known already
	}
}

// start starts a worker.
func (t *tour) start(ctx context.Context) (*client.Worker, error) {
	return t.dialer.Start(ctx, t.command)
}

// did says what was done.
func (t *tour) did(format string, args ...any) {
	t.printf("   did: %s\n", indent(fmt.Sprintf(format, args...)))
}

// saw says what came of it.
func (t *tour) saw(format string, args ...any) {
	t.printf("   saw: %s\n", indent(fmt.Sprintf(format, args...)))
}

// printf writes a piece of the tour. An error is kept for the end.
func (t *tour) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(t.out, format, args...); err != nil && t.err == nil {
		t.err = err
	}
}

// maxLines bounds the lines of a text that the tour shows.
const maxLines = 6

// indent returns a text of several lines, cut if it is long, as the tour shows it.
func indent(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > maxLines {
		lines = append(lines[:maxLines], "...")
	}
	return strings.Join(lines, "\n        ")
}

// recorder is a logrus hook that keeps messages. It is safe for concurrent use.
type recorder struct {
	mu   sync.Mutex // protects text
	text bytes.Buffer
}

func (*recorder) Levels() []logrus.Level { return logrus.AllLevels }

// Fire takes an entry.
func (r *recorder) Fire(e *logrus.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.text, "%s %s worker=%v pid=%v\n", e.Level, e.Message, e.Data["worker"], e.Data["pid"])
	return nil
}

// line returns the first line that contains a text, empty if none does.
func (r *recorder) line(text string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range strings.Lines(r.text.String()) {
		if strings.Contains(line, text) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
