package client

import (
	"context"
	"sync"
	"time"

	"github.com/detached-workers/unref/transport"
)

// Answer is what one worker has said to a [Broadcast].
type Answer[Rep any] struct {
	Slot  int
	Pid   int
	Reply Rep
	Err   error // of this worker's call
}

// Broadcast makes the same call on all workers of a pool that serve, at once, and
// returns their answers in the order of their slots. It waits for no place and
// counts for no worker's MaxCalls. Workers that are starting, or start later, do
// not get it; what all must know belongs to their [lifecycle.Command].
func Broadcast[Req, Rep any](ctx context.Context, p *Pool, m transport.Method[Req, Rep], req Req, opts ...CallOption) []Answer[Rep] {
	calls := p.callAll(newRequest(string(m), transport.KindUnary, req, opts))
	answers := make([]Answer[Rep], len(calls))
	var wg sync.WaitGroup
	defer wg.Wait()
	for i, c := range calls {
		a := &answers[i]
		a.Slot, a.Pid = c.ticket.seat.slot, c.ticket.seat.worker.Pid()
		wg.Go(func() { a.Err = c.invoke(ctx, &a.Reply) })
	}
	return answers
}

// callAll returns a call for each worker that serves, with a place there.
func (p *Pool) callAll(req *Request) (calls []*poolCall) {
	p.update(func(r *roster, _ time.Time) {
		for _, s := range r.seats {
			if !s.takes() {
				continue
			}
			c := p.newCall(req)
			c.held = true
			c.ticket.seat = s
			r.hold(&c.ticket)
			calls = append(calls, c)
		}
	})
	return calls
}
