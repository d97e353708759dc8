package client_test

import (
	"context"
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
		list, err := d.List(ctx)
		for _, w := range list {
			if w.Name == name && w.Status != nil {
				fmt.Fprintf(out, "%s runs, %d calls done\n", w.Name, w.Status.Done)
			}
		}
		return err
	case "stop":
		return d.Stop(ctx, name)
	case "logs":
		w, err := d.Find(ctx, name)
		if err != nil {
			return err
		}
		defer w.Close()
		for line := range w.Lines(ctx, -1, false) {
			if line.Entry != nil {
				line.Text = line.Entry.Level + ": " + line.Entry.Message
			}
			fmt.Fprintln(out, line.Text)
		}
		return nil
	}
	return fmt.Errorf("daemon %s: no such command", what)
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

	for _, what := range []string{"status", "logs", "stop", "logs"} {
		if err := daemonCommand(ctx, "mytool", what, os.Stdout); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// mytool runs, 1 calls done
	// hello
	// "mytool": no such worker
}
