package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/detached-workers/unref/client"
)

func (a *app) psCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List the workers that live",
		Long: `Ps lists the workers that live, in the order of their names.

AGE is the time since the start, IDLE that without a client. CALLS are in flight, DONE have ended. CPU is the processor time
since the start. FINGERPRINT stands for the configuration of a shared worker: two with the same one are interchangeable.
STATE is what the worker says, or why it does not answer; each has 2 s for that. One that was replaced and goes on serving its
clients is leaving or draining.`,
		Example: `  unref ps
  unref ps --json | jq -r '.[] | select(.status == null) | .name'   # those that do not answer`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              action(func(ctx context.Context, _ []string) error { return a.ps(ctx, asJSON) }),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array, durations in nanoseconds")
	return cmd
}

func (a *app) ps(ctx context.Context, asJSON bool) error {
	list, err := a.dialer().List(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(append([]client.Info{}, list...)) // an array even if it is empty
	}
	_, err = fmt.Fprintln(a.stdout, strings.Join(table(psColumns, rowsOf(list, time.Now())), "\n"))
	return err
}
