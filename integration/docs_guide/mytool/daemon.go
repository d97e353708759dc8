package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/client"
)

// daemonCommands are what "mytool daemon" can do with a worker.
var daemonCommands = map[string]func(t *tool, ctx context.Context, info client.Info) error{
	"status": (*tool).status,
	"stop":   (*tool).stop,
	"log":    (*tool).log,
}

// daemon is the command "mytool daemon".
func (t *tool) daemon(ctx context.Context, what string) error {
	do, ok := daemonCommands[what]
	if !ok { // said whether there are workers or not
		return fmt.Errorf("daemon: unknown command %q; there are status, stop and log", what)
	}
	workers, err := t.workers(ctx)
	if err != nil {
		return err
	}
	for _, info := range workers {
		if err := do(t, ctx, info); err != nil && !errors.Is(err, client.ErrNoWorker) { // it may have left meanwhile
			return err
		}
	}
	return nil
}

// workers returns the tool's workers, those included that others have replaced and that still serve somebody.
func (t *tool) workers(ctx context.Context) ([]client.Info, error) {
	list, err := client.List(ctx)
	var ours []client.Info
	for _, info := range list {
		if info.Shared && strings.HasPrefix(info.Name, namePrefix) {
			ours = append(ours, info)
		}
	}
	return ours, err
}

// stop ends a worker for everybody.
func (t *tool) stop(ctx context.Context, info client.Info) error {
	d := client.Dialer{Logger: t.logger()}
	if err := d.Stop(ctx, info.ID); err != nil && !errors.Is(err, client.ErrForced) {
		return err
	}
	_, err := fmt.Fprintln(t.stdout, "stopped", info.Pid)
	return err
}

// status shows a worker.
func (t *tool) status(_ context.Context, info client.Info) error {
	_, err := fmt.Fprintf(t.stdout, "%d  %s\n", info.Pid, info.Name)
	return err
}

// log shows what a worker has printed and logged so far: all of it, which is here what the user has asked for.
func (t *tool) log(ctx context.Context, info client.Info) error {
	d := client.Dialer{
		Logger:     newLogger(t.stdout, logrus.InfoLevel),
		PastOutput: -1,   // all that is kept
		Observer:   true, // does not keep an idle worker from leaving
	}
	w, err := d.Find(ctx, info.ID)
	if err != nil {
		return err
	}
	return w.Close() // waits until everything has been logged
}
