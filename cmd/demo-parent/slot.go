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

// slot is the place of one worker: it has none at first, and another one after that has died. Only one goroutine at a
// time uses a slot.
type slot struct {
	dialer  *client.Dialer
	command *lifecycle.Command
	tell    func(format string, args ...any) // says in one line what the user should know
	worker  *client.Worker                   // nil if there is none
}

// do calls f with the slot's worker, and again with a fresh one if it dies meanwhile. f does only what is left to do.
func (s *slot) do(ctx context.Context, f func(*client.Worker) error) error {
	for attempt := 1; ; attempt++ {
		if err := s.fill(ctx); err != nil {
			return err
		}
		err := f(s.worker)
		if ctx.Err() != nil || !errors.Is(err, client.ErrWorkerExited) {
			return err
		}
		s.worker = nil
		if attempt == maxAttempts {
			return fmt.Errorf("%d workers have died of this, the last one so: %w", maxAttempts, err)
		}
		s.tell("%s; a fresh worker goes on (attempt %d of %d)", cause(err), attempt+1, maxAttempts)
	}
}

// fill starts a worker if there is none, or none that lives.
func (s *slot) fill(ctx context.Context) error {
	if s.worker != nil && s.worker.Err() == nil {
		return nil
	}
	w, err := s.dialer.Start(ctx, s.command)
	s.worker = w
	return err
}

// cause returns how a worker ended, without its last words.
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

func newSlots(n int, s slot) slots {
	list := make(slots, n)
	for i := range list {
		copied := s
		list[i] = &copied
	}
	return list
}

// close ends all workers, at once if ctx has ended, and returns when they are gone.
func (s slots) close(ctx context.Context) {
	var stops sync.WaitGroup
	for _, slot := range s {
		if slot.worker == nil {
			continue
		}
		stops.Go(func() {
			if err := slot.worker.Stop(ctx); err != nil && !errors.Is(err, client.ErrForced) {
				slot.tell("%v", err)
			}
		})
	}
	stops.Wait()
}
