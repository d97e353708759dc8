package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/detached-workers/unref/client"
)

// target is a worker to do something to.
type target struct {
	key  string // that finds it and no other
	name string // that it is called by
}

// verb is what is done to each of several workers. It returns what is said of it.
type verb func(ctx context.Context, d *client.Dialer, t target) (said string, err error)

// severalCommand returns a command for workers that are named, or for all of them that are wanted.
func (a *app) severalCommand(cmd *cobra.Command, do verb, wanted func(client.Info) bool) *cobra.Command {
	var all bool
	cmd.Flags().BoolVar(&all, "all", false, "all workers in the runtime directory")
	cmd.ValidArgsFunction = a.completeNames
	cmd.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case all && len(args) > 0:
			return errors.New("name workers or say --all, not both")
		case !all && len(args) == 0:
			return errors.New("which worker? name one, or say --all")
		}
		return nil
	}
	cmd.RunE = action(func(ctx context.Context, names []string) error {
		targets := named(names)
		if all {
			list, err := a.dialer().List(ctx)
			if err != nil {
				return err
			}
			targets = found(list, wanted)
		}
		return a.each(ctx, targets, do)
	})
	return cmd
}

func named(names []string) []target {
	var targets []target
	for _, name := range names {
		targets = append(targets, target{name, printable(name)})
	}
	return targets
}

func found(list []client.Info, wanted func(client.Info) bool) []target {
	var targets []target
	for _, info := range list {
		if wanted(info) {
			targets = append(targets, target{info.ID, printable(info.Name)})
		}
	}
	return targets
}

// outcome is how it went with one worker.
type outcome struct {
	said string
	err  error
}

// each does it to all at once, since one that hangs takes its time, and says how it went in their order. What fails for one
// does not matter to the others.
func (a *app) each(ctx context.Context, targets []target, do verb) error {
	outcomes := make([]chan outcome, len(targets)) // each has room for its one outcome
	for i, t := range targets {
		outcomes[i] = make(chan outcome, 1)
		go func() { // ends with do; each waits for its outcome
			said, err := do(ctx, a.dialer(), t)
			outcomes[i] <- outcome{said, err}
		}()
	}
	failed := false
	for _, c := range outcomes {
		o := <-c
		if o.err != nil {
			failed = true
			a.complain(o.err)
			continue
		}
		if _, err := fmt.Fprintln(a.stdout, o.said); err != nil {
			failed = true
		}
	}
	if failed {
		return errNo
	}
	return nil
}

func everyWorker(client.Info) bool { return true }

// replaceable is whether a restart can take the worker's place: one that clients do not find any more has none.
func replaceable(i client.Info) bool { return i.Shared && !i.Displaced }

func (a *app) stopCommand() *cobra.Command {
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "stop {NAME... | --all}",
		Short: "End workers politely, by force if need be",
		Long: `Stop asks each worker to leave, sends it SIGTERM if it does not, and kills it with all processes below it if it still does
not, each after some seconds, or at once after an interrupt. It returns when all are gone. Where force was needed it says "stopped
NAME, by force", which is no failure.`,
		Example: `  unref stop web
  unref stop --all --timeout 1s     # kill what has not left after a second`,
	}
	cmd.Flags().DurationVar(&limit, "timeout", 0, "kill after this time (default: when the grace that workers have is over)")
	return a.severalCommand(cmd, func(ctx context.Context, d *client.Dialer, t target) (string, error) {
		if limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, limit)
			defer cancel()
		}
		err := d.Stop(ctx, t.key)
		if errors.Is(err, client.ErrForced) {
			return fmt.Sprintf("stopped %s, by force", t.name), nil
		}
		return "stopped " + t.name, err
	}, everyWorker)
}

func (a *app) killCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kill {NAME... | --all}",
		Short: "End workers at once",
		Long: `Kill ends each worker at once, with all processes below it, whether it answers or not. Calls in flight fail. A process is
only killed if it is known to be the worker's.`,
		Example: "  unref kill web",
	}
	return a.severalCommand(cmd, func(ctx context.Context, d *client.Dialer, t target) (string, error) {
		return "killed " + t.name, d.Kill(ctx, t.key)
	}, everyWorker)
}

func (a *app) restartCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restart {NAME... | --all}",
		Short: "Replace shared workers with new ones",
		Long: `Restart starts a new worker as the old one was started, with the same program, arguments, environment and configuration. The
new one answers before the old one takes no more clients, and the old one goes on serving those it has. Only shared workers can
be restarted: how to start another one only its starter knows. --all means all shared ones, but for those that were replaced
before and only serve who is left.`,
		Example: "  unref restart web",
	}
	return a.severalCommand(cmd, func(ctx context.Context, d *client.Dialer, t target) (string, error) {
		w, err := d.Restart(ctx, t.key)
		if err != nil {
			return "", err
		}
		defer w.Close()
		return restarted(t, w.Pid(), w.Decision().Previous), nil
	}, replaceable)
}

// restarted says what has become of a worker. previous is 0 if it was gone before it could be replaced.
func restarted(t target, pid, previous int) string {
	if previous == 0 {
		return fmt.Sprintf("restarted %s (pid %d, and the old one was gone)", t.name, pid)
	}
	return fmt.Sprintf("restarted %s (pid %d, was %d)", t.name, pid, previous)
}
