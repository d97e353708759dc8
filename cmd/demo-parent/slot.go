package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// maxAttempts is how often the same work is given to a worker, a fresh one each time, before it is said to be what
// workers die of.
const maxAttempts = 3

// slot is the place of one worker: it has none at first, and another one after that has died or takes no more work. Only
// one goroutine at a time uses a slot.
type slot struct {
	dialer   *client.Dialer
	command  *lifecycle.Command
	name     string                           // under which the worker is shared; empty means that it is ours alone
	tell     func(format string, args ...any) // says in one line what the user should know
	worker   *client.Worker                   // nil if there is none
	arrivals []arrival                        // since they were taken the last time
}

// do calls f with the slot's worker, and again with another one if it dies meanwhile or is not to be had any more. f does
// only what is left to do.
func (s *slot) do(ctx context.Context, f func(*client.Worker) error) error {
	for attempt := 1; ; attempt++ {
		if err := s.fill(ctx); err != nil {
			return err
		}
		err := f(s.worker)
		if ctx.Err() != nil || !lost(err) {
			return err
		}
		s.leave()
		if attempt == maxAttempts {
			return fmt.Errorf("given up after %d workers, the last of which was lost so: %w", maxAttempts, err)
		}
		s.tell("%s; another worker goes on (attempt %d of %d)", cause(err), attempt+1, maxAttempts)
	}
}

// lost reports whether what a call has come to is that there is no such worker any more: it has died, or it is leaving or
// was replaced, and has not seen the call.
func lost(err error) bool {
	return errors.Is(err, client.ErrWorkerExited) || errors.Is(err, client.ErrNotListening) && client.SafeToRetry(err)
}

// fill finds or starts a worker if there is none, or none that can be used.
func (s *slot) fill(ctx context.Context) error {
	if s.worker != nil && s.worker.Err() == nil {
		return nil
	}
	s.leave()
	w, err := s.obtain(ctx)
	if err != nil {
		return err
	}
	s.worker = w
	s.arrivals = append(s.arrivals, newArrival(w, s.name != ""))
	return nil
}

func (s *slot) obtain(ctx context.Context) (*client.Worker, error) {
	if s.name == "" {
		return s.dialer.Start(ctx, s.command)
	}
	defer s.tellWaiting(ctx)()
	return s.dialer.Attach(ctx, s.name, s.command)
}

// leave lets go of a worker that is of no use any more.
func (s *slot) leave() {
	if s.worker != nil {
		_ = s.worker.Close() // there is nothing to be done about it
		s.worker = nil
	}
}

// close ends the worker if it is ours, at once if ctx has ended, or lets go of it.
func (s *slot) close(ctx context.Context) {
	switch {
	case s.worker == nil:
	case s.name != "":
		s.leave()
	default:
		if err := s.worker.Stop(ctx); err != nil && !errors.Is(err, client.ErrForced) {
			s.tell("%v", err)
		}
	}
}

// cause returns how a worker was lost, without its last words.
func cause(err error) string {
	text := err.Error()
	if exit, ok := errors.AsType[*lifecycle.ExitError](err); ok {
		text = exit.Error()
	}
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSuffix(line, "; last output:")
}

// slots are the places of all workers.
type slots []*slot

// newSlots returns n places like s. The workers of shared ones have a name each.
func newSlots(n int, s slot) slots {
	list := make(slots, n)
	for i := range list {
		copied := s
		if s.name != "" {
			copied.name = slotName(s.name, i+1)
		}
		list[i] = &copied
	}
	return list
}

// close ends all workers, or lets go of them, and returns when that is done.
func (s slots) close(ctx context.Context) {
	var closes sync.WaitGroup
	for _, slot := range s {
		closes.Go(func() { slot.close(ctx) })
	}
	closes.Wait()
}

// takeArrivals returns which workers have come since the last time, slot by slot.
func (s slots) takeArrivals() []arrival {
	var list []arrival
	for _, slot := range s {
		list = append(list, slot.arrivals...)
		slot.arrivals = nil
	}
	return list
}
