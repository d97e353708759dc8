package main

import (
	"context"
	"sync"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// drawEvery is the time between two looks of the progress bar.
const drawEvery = 50 * time.Millisecond

// checker checks the same packages again and again with the same workers.
type checker struct {
	request api.PlanRequest
	slots   slots
	display *display
	verbose bool
	rounds  int // how many there were
}

// round plans and checks once. Next to an error it returns what is known by then, nil if there was no plan.
func (c *checker) round(ctx context.Context) (*result, error) {
	start := time.Now()
	c.rounds++
	defer c.display.Clear()
	plan, err := c.plan(ctx)
	if err != nil {
		return nil, err
	}
	r := newResult(c.rounds, plan)
	err = c.check(ctx, plan, r)
	r.elapsed = time.Since(start)
	r.arrivals = c.slots.takeArrivals()
	if c.verbose {
		c.introduce(r.arrivals)
	}
	return r, err
}

// introduce says of each worker that has come why it is this one.
func (c *checker) introduce(list []arrival) {
	for _, a := range list {
		c.display.Printf("worker %d: %s", a.Pid, a.Decision)
	}
}

// plan has the first worker list the packages.
func (c *checker) plan(ctx context.Context) (*api.PlanReply, error) {
	c.display.Draw(progress{phase: "listing packages"})
	var plan api.PlanReply
	err := c.slots[0].do(ctx, func(w *client.Worker) (err error) {
		plan, err = client.Call(ctx, w, api.Plan, c.request)
		return err
	})
	return &plan, err
}

// check shares the plan between the workers and gathers what they find.
func (c *checker) check(ctx context.Context, plan *api.PlanReply, r *result) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	events := make(chan api.CheckEvent) // unbuffered; the shares send, and it is closed when all have ended
	var shares, closer sync.WaitGroup
	defer closer.Wait()
	requests := plan.Split(len(c.slots))
	r.workers = len(requests)
	for i, request := range requests {
		shares.Go(func() {
			if err := c.slots[i].check(ctx, plan, request.Targets, events); err != nil {
				cancel(err)
			}
		})
	}
	closer.Go(func() {
		shares.Wait()
		close(events)
	})
	c.gather(events, r)
	return context.Cause(ctx)
}

// gather takes the events until there will be no more.
func (c *checker) gather(events <-chan api.CheckEvent, r *result) {
	ticker := time.NewTicker(drawEvery)
	defer ticker.Stop()
	p := progress{total: r.total()}
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			r.add(e)
			p.add(e)
			p.done = r.done()
			if c.verbose {
				c.tell(e)
			}
		case <-ticker.C:
			c.display.Draw(p)
		}
	}
}

// tell says of one package what became of it.
func (c *checker) tell(e api.CheckEvent) {
	switch {
	case e.Kind != api.EventDone:
	case e.SkippedFor != "":
		c.display.Printf("skipped %s: %s has errors", e.ID, e.SkippedFor)
	case e.Reused:
		c.display.Printf("reused  %s", e.ID)
	default:
		c.display.Printf("checked %s in %s", e.ID, short(e.Elapsed))
	}
}

// check has the slot's worker check targets, and a fresh one those that are left when it dies.
func (s *slot) check(ctx context.Context, plan *api.PlanReply, targets []string, events chan<- api.CheckEvent) error {
	left := make(map[string]bool)
	for _, id := range targets {
		left[id] = true
	}
	return s.do(ctx, func(w *client.Worker) error {
		for event, err := range client.Stream(ctx, w, api.Check, plan.Request(remaining(targets, left)...)) {
			if err != nil {
				return err
			}
			select {
			case events <- event:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if event.Kind == api.EventDone {
				delete(left, event.ID)
			}
		}
		return nil
	})
}

// remaining returns those targets that are left, in order.
func remaining(targets []string, left map[string]bool) []string {
	var list []string
	for _, id := range targets {
		if left[id] {
			list = append(list, id)
		}
	}
	return list
}
