package main

import (
	"context"
	"errors"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/integration/docs_guide/api"
	"github.com/detached-workers/unref/integration/docs_guide/counter"
	"github.com/detached-workers/unref/lifecycle"
)

// namePrefix begins the shared names of all workers of this tool.
const namePrefix = "mytool "

// command describes the worker for a directory.
func (t *tool) command(dir string) *lifecycle.Command {
	cmd := lifecycle.Self(workerName)
	if t.program != "" {
		cmd = &lifecycle.Command{Path: t.program}
	}
	cmd.Dir = dir                         // and not whatever the first run was started from
	cmd.Config = t.settings               // others need another worker
	cmd.FingerprintEnv = []string{"LANG"} // so does another value of these
	cmd.IdleTimeout = 30 * time.Minute    // without a client
	cmd.MaxLifetime = 24 * time.Hour      // so that nothing grows for ever
	cmd.StartTimeout = 10 * time.Second   // it has nothing to load
	cmd.LogLevel = "info"                 // however quiet the first run was; each run shows what it wants of it
	return cmd
}

// attach finds the worker for a directory or starts it.
func (t *tool) attach(ctx context.Context, dir string) (*client.Worker, error) {
	log := t.logger()
	d := client.Dialer{Logger: log, Timeout: time.Minute}
	w, err := d.Attach(ctx, namePrefix+dir, t.command(dir))
	if err != nil {
		return nil, err
	}
	log.Infof("%s; pid %d", w.Decision(), w.Pid()) // shown with -v
	return w, nil
}

// maxAttempts is how many workers are tried, because work can be what a worker dies of.
const maxAttempts = 3

// count has the words counted, by another worker if the first one is lost.
func (t *tool) count(ctx context.Context, dir string) (reply api.CountReply, err error) {
	for attempt := 1; attempt <= maxAttempts; attempt++ {
		reply, err = t.countOnce(ctx, dir)
		if ctx.Err() != nil || !lost(err) {
			break
		}
	}
	return reply, err
}

// lost reports whether a call may be made again with another worker. Counting twice does no harm; a call that must not run
// twice is made again only if client.SafeToRetry says so.
func lost(err error) bool {
	return errors.Is(err, client.ErrWorkerExited) || client.SafeToRetry(err)
}

func (t *tool) countOnce(ctx context.Context, dir string) (api.CountReply, error) {
	req := api.CountRequest{Dir: dir}
	if t.noDaemon {
		return t.countHere(ctx, req)
	}
	w, err := t.attach(ctx, dir)
	if errors.Is(err, lifecycle.ErrNested) { // the worker itself has started us
		return t.countHere(ctx, req)
	}
	if err != nil {
		return api.CountReply{}, err
	}
	defer w.Close() // lets go of it; it stays for the next run
	return client.Call(ctx, w, api.Count, req)
}

// countHere counts without a worker.
func (t *tool) countHere(ctx context.Context, req api.CountRequest) (api.CountReply, error) {
	c := counter.Counter{Settings: t.settings}
	return c.Count(ctx, req)
}
