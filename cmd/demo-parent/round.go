package main

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// drawEvery is the time between two looks of the progress bar.
const drawEvery = 50 * time.Millisecond

// planSlot is where the packages are listed. Its worker knows the plan of the last time.
const planSlot = 0

// checker checks the same packages again and again with the same workers.
type checker struct {
	request api.PlanRequest
	crew    *crew
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
	r.arrivals = c.crew.arrived(planSlot)
	err = c.check(ctx, plan, r)
	r.elapsed = time.Since(start)
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
	err := c.crew.do(ctx, func() (progress bool, err error) {
		plan, err = client.Call(ctx, c.crew.pool, api.Plan, c.request, to(planSlot))
		return false, err
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
	requests := plan.Split(c.crew.size)
	r.workers = len(requests)
	arrivals := make([][]arrival, len(requests))
	for i, request := range requests {
		shares.Go(func() {
			if err := c.crew.check(ctx, i, plan, request.Targets, events); err != nil {
				cancel(err)
			}
			arrivals[i] = c.crew.arrived(i)
		})
	}
	closer.Go(func() {
		shares.Wait()
		close(events)
	})
	c.gather(events, r)
	r.arrivals = slices.Concat(append([][]arrival{r.arrivals}, arrivals...)...)
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

// check has the worker in a slot check targets, and a fresh one those that are left when it dies.
func (c *crew) check(ctx context.Context, slot int, plan *api.PlanReply, targets []string, events chan<- api.CheckEvent) error {
	left := make(map[string]bool)
	for _, id := range targets {
		left[id] = true
	}
	return c.do(ctx, func() (progress bool, err error) {
		before := len(left)
		request := plan.Request(remaining(targets, left)...)
		err = forEach(client.Stream(ctx, c.pool, api.Check, request, to(slot)), func(e api.CheckEvent) error {
			select {
			case events <- e:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if e.Kind == api.EventDone {
				delete(left, e.ID)
			}
			return nil
		})
		return len(left) < before, err
	})
}

// forEach calls f with each message, until there is an error.
func forEach[Msg any](messages iter.Seq2[Msg, error], f func(Msg) error) error {
	for msg, err := range messages {
		if err == nil {
			err = f(msg)
		}
		if err != nil {
			return err
		}
	}
	return nil
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
