package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/detached-workers/unref/client"
)

// runStatus is the command status.
func runStatus(ctx context.Context, args []string, stdout io.Writer, stderr *os.File) error {
	f := newFlags("status", "[flags]", "Status lists the workers that checks have left for later ones, of all modules.")
	asJSON := f.Bool("json", false, "print a JSON array, durations in nanoseconds")
	if err := parseAlone(f, args, stdout); err != nil {
		return err
	}
	d := &client.Dialer{Logger: newLogger(newDisplay(stderr), false)}
	list, err := sharedWorkers(ctx, d)
	switch {
	case err != nil:
		return err
	case *asJSON:
		return json.NewEncoder(stdout).Encode(append([]client.Info{}, list...)) // [] and not null
	case len(list) == 0:
		_, err := fmt.Fprintln(stdout, "there is no worker")
		return err
	}
	return statusTable(list, stdout)
}

// statusTable prints a line for each worker.
func statusTable(list []client.Info, stdout io.Writer) error {
	var text bytes.Buffer
	fmt.Fprintln(&text, "PID\tAGE\tMEMORY\tCALLS\tSTATE\tMODULE")
	for _, info := range list {
		fmt.Fprintf(&text, "%d\t%s\t%s\t%s\t%s\t%s\n", info.Pid, since(info.Started), memory(info), calls(info), state(info), place(info))
	}
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	if _, err := text.WriteTo(table); err != nil {
		return err
	}
	return table.Flush()
}

func since(began time.Time) time.Duration { return time.Since(began).Round(time.Second) }

// memory returns what a worker uses, "?" if the system does not tell.
func memory(info client.Info) string {
	if info.Usage.RSS == 0 {
		return "?"
	}
	return fmt.Sprintf("%d MiB", info.Usage.RSS>>20)
}

// calls returns how many calls have ended, "?" if the worker does not tell.
func calls(info client.Info) string {
	if info.Status == nil {
		return "?"
	}
	return strconv.FormatUint(info.Status.Done, 10)
}

// state says what a worker is about.
func state(info client.Info) string {
	switch s := info.Status; {
	case s == nil:
		return info.Trouble
	case s.Leaving != "":
		return "leaving: " + s.Leaving
	case s.Clients > 0:
		return fmt.Sprintf("in use by %d", s.Clients)
	default:
		return "idle for " + s.Idle.Round(time.Second).String()
	}
}
