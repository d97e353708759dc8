package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// maxAttempts is how often in a row the same work is given to a worker, a fresh one each time, and nothing of it gets
// done, before it is said to be what workers die of.
const maxAttempts = 6

// crew is the workers of a check: a pool in whose slots they have their places, from 0 on. The work is shared in the same
// way each time, and a share goes to the worker in the slot of its number and to no other, so that it finds what it has
// checked before, in this run or an earlier one. One goroutine at a time gives work to a slot.
type crew struct {
	crewConfig
	pool  *client.Pool
	tasks sync.WaitGroup // who follows the events, and who tells of starts that take long
	log   chronicle
}

// crewConfig is what a crew is made of.
type crewConfig struct {
	dialer  *client.Dialer
	command *lifecycle.Command
	size    int                              // how many workers there are at most
	group   string                           // the name that shared workers have in common; empty means that they are ours alone
	tell    func(format string, args ...any) // says in one line what the user should know
}

// newCrew returns a crew without workers, which come as they are needed.
func newCrew(cfg crewConfig) (*crew, error) {
	pool, err := client.NewPool(client.PoolConfig{
		Command:      cfg.command,
		Dialer:       cfg.dialer,
		Name:         cfg.group,
		Max:          cfg.size,
		Strategy:     client.StrategyFunc(bySlot),
		QueueTimeout: -1, // a share waits for its worker as long as that takes to start
		CancelGrace:  -1, // what hangs is left to those with whom it is shared, or is stopped in the end
		ShrinkAfter:  -1, // what a worker knows is worth more than its memory
	})
	if err != nil {
		return nil, err
	}
	c := &crew{crewConfig: cfg, pool: pool}
	c.tasks.Go(func() { c.follow(context.Background()) }) // until the pool is closed
	return c, nil
}

// to has a call go to the worker in a slot.
func to(slot int) client.CallOption { return client.Key(strconv.Itoa(slot)) }

// bySlot is the strategy that goes with to. Where a worker is missing the pool may start one: slots are filled from 0 on,
// so that it is the one with that number sooner or later.
func bySlot(key string, workers []client.Candidate, _ bool) int {
	for i, w := range workers {
		switch {
		case strconv.Itoa(w.Slot) != key:
		case w.Free:
			return i
		default:
			return client.PickWait
		}
	}
	return client.PickNone
}

// do calls f, which makes its calls to one slot, and again when the worker is lost meanwhile. f does only what is left to
// do, and says whether it got anything done.
func (c *crew) do(ctx context.Context, f func() (progress bool, err error)) error {
	for attempts := 0; ; {
		progress, err := f()
		if ctx.Err() != nil || !lost(err) {
			return err
		}
		if unready(err) { // of those the pool bears so many in a row, whatever slot they were for
			c.tell("%s; another one is started", cause(err))
			continue
		}
		if progress {
			attempts = 0
		}
		if attempts++; attempts == maxAttempts {
			return fmt.Errorf("given up after %d workers, the last of which was lost so: %w", maxAttempts, err)
		}
		c.tell("%s; another worker goes on (attempt %d of %d)", cause(err), attempts+1, maxAttempts)
	}
}

// unready reports whether a worker did not get ready.
func unready(err error) bool {
	_, ok := errors.AsType[*client.StartError](err)
	return ok
}

// lost reports whether what a call has come to is that there is no such worker any more: it has died, or was killed
// before it was ready, or it is leaving or was replaced, and has not seen the call.
func lost(err error) bool {
	exit, _ := errors.AsType[*lifecycle.ExitError](err)
	switch {
	case errors.Is(err, client.ErrRestartLimit):
		return false
	case unready(err):
		return exit != nil && exit.Signal > 0 && exit.Killed == ""
	}
	return errors.Is(err, client.ErrWorkerExited) || errors.Is(err, client.ErrNotListening) && client.SafeToRetry(err)
}

// cause returns how a worker was lost, without its last words.
func cause(err error) string {
	if exit, ok := errors.AsType[*lifecycle.ExitError](err); ok {
		err = exit
	}
	return firstLine(err)
}

// close ends the workers if they are ours, at once when ctx has ended, or lets go of them, and returns when that is done.
func (c *crew) close(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = c.pool.Kill() }) // Close says the same
	defer stop()
	if err := c.pool.Close(); err != nil && !errors.Is(err, client.ErrForced) {
		c.tell("%v", err)
	}
	c.tasks.Wait()
}
