package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// daemonCommand is what "mytool daemon status|stop|logs" does with the shared
// worker that mytool keeps warm.
func daemonCommand(ctx context.Context, name, what string, out io.Writer) error {
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	d := &client.Dialer{Observer: true, Logger: quiet}
	switch what {
	case "status":
		return daemonStatus(ctx, d, name, out)
	case "stop":
		return daemonStop(ctx, d, name, out)
	case "logs":
		return daemonLogs(ctx, d, name, out)
	}
	return fmt.Errorf("daemon %s: no such command", what)
}

func daemonStatus(ctx context.Context, d *client.Dialer, name string, out io.Writer) error {
	list, err := d.List(ctx)
	if err != nil {
		return err
	}
	state := "does not run"
	for _, w := range list {
		switch {
		case w.Name != name || !w.Shared || w.Displaced: // another one, or one that was replaced
		case w.Status == nil:
			state = fmt.Sprintf("(pid %d) %s", w.Pid, w.Trouble)
		default:
			state = fmt.Sprintf("runs, %d calls done", w.Status.Done)
		}
	}
	_, err = fmt.Fprintln(out, name, state)
	return err
}

func daemonStop(ctx context.Context, d *client.Dialer, name string, out io.Writer) error {
	state := "was stopped"
	switch err := d.Stop(ctx, name); {
	case errors.Is(err, client.ErrNoWorker):
		state = "does not run"
	case errors.Is(err, client.ErrForced):
		state = "was stopped by force"
	case err != nil:
		return err
	}
	_, err := fmt.Fprintln(out, name, state)
	return err
}

func daemonLogs(ctx context.Context, d *client.Dialer, name string, out io.Writer) error {
	w, err := d.Find(ctx, name)
	if err != nil {
		return err
	}
	defer w.Close()
	for line := range w.Lines(ctx, -1, false) {
		switch {
		case line.Entry != nil:
			line.Text = line.Entry.Level + ": " + line.Entry.Message
		case line.Lost > 0:
			line.Text = fmt.Sprintf("[%d bytes were lost]", line.Lost)
		}
		if _, err := fmt.Fprintln(out, line.Text); err != nil {
			return err
		}
	}
	return nil
}

// A program offers its users what they need to know of the worker that it keeps
// warm, without telling them of another tool.
func ExampleWorker_Lines() {
	ctx := context.Background()
	w, err := client.Attach(ctx, "mytool", lifecycle.Self(printer))
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()
	if _, err := client.Call(ctx, w, Say, "hello\n"); err != nil {
		log.Fatal(err)
	}

	for _, what := range []string{"status", "logs", "stop", "stop", "status", "logs"} {
		if err := daemonCommand(ctx, "mytool", what, os.Stdout); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// mytool runs, 1 calls done
	// hello
	// mytool was stopped
	// mytool does not run
	// mytool does not run
	// "mytool": no such worker
}
