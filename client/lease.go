package client

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"
)

// ErrReleased reports a call on a lease that was released.
var ErrReleased = errors.New("the lease was released")

// Lease is a worker of a pool, lent for several calls that belong together. It
// has a place in the worker, as a call has, until it is released: with
// [PoolConfig.CallsPerWorker] of 1 nobody else has calls there meanwhile. All
// methods are safe for concurrent use, in any state. When the worker dies calls on
// the lease fail; it is never given another one.
type Lease struct {
	pool   *Pool
	ticket ticket
	where  string // in the program it was acquired
	since  time.Time

	// Protected by the pool's mutex.
	calls    int // in flight
	released bool
}

// checkTimeout bounds [PoolConfig.Check].
const checkTimeout = 5 * time.Second

// maxChecks is how many workers are tried for a lease.
const maxChecks = 3

// Acquire waits for a worker as a call does, and lends it. Of the options [Key] and
// [Priority] count. The lease must be released, or discarded. Errors are those of
// [Pool.Invoke] for a call that gets no worker, or what the check said.
func (p *Pool) Acquire(ctx context.Context, opts ...CallOption) (*Lease, error) {
	return p.acquire(ctx, caller(), opts)
}

// With lends a worker to fn, and takes it back when fn returns. If fn panics, or
// ends its goroutine, the worker is discarded. The error is fn's, or one of
// Acquire.
func (p *Pool) With(ctx context.Context, fn func(*Lease) error, opts ...CallOption) error {
	l, err := p.acquire(ctx, caller(), opts)
	if err != nil {
		return err
	}
	returned := false
	defer func() {
		if returned {
			l.Release()
		} else {
			l.Discard()
		}
	}()
	err = fn(l)
	returned = true
	return err
}

// caller returns the place in the program that called who calls it.
func caller() string {
	_, file, line, ok := runtime.Caller(2)
	if !ok {
		return "an unknown place"
	}
	return fmt.Sprintf("%s:%d", file, line)
}

func (p *Pool) acquire(ctx context.Context, where string, opts []CallOption) (*Lease, error) {
	req := newRequest("", 0, nil, opts)
	for check := 1; ; check++ {
		l := &Lease{pool: p, where: where, ticket: ticket{key: req.Key, priority: req.Priority, lease: true}}
		if err := p.take(ctx, &l.ticket); err != nil {
			return nil, fmt.Errorf("acquire a worker: %w", notSent(err))
		}
		l.since = time.Now()
		p.mu.Lock()
		p.leases[l] = struct{}{}
		p.mu.Unlock()
		err := l.check(ctx)
		if err == nil {
			return l, nil
		}
		if check == maxChecks || ctx.Err() != nil {
			return nil, fmt.Errorf("acquire a worker: the check failed with %d, the last time so: %w", check, err)
		}
	}
}

// check asks whether the worker is fit. If not, or if the question is not
// answered, it is discarded, unless it is the caller whose time is over.
func (l *Lease) check(ctx context.Context) (err error) {
	w := l.Worker()
	if l.pool.cfg.Check == nil || w == nil {
		return nil
	}
	checking, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	fit := false
	defer func() { // also if it panics
		switch {
		case fit:
		case ctx.Err() != nil:
			l.Release()
		default:
			l.Discard()
		}
	}()
	err = l.pool.cfg.Check(checking, w)
	fit = err == nil
	return err
}

// Worker returns the worker, for what a Caller can't do. It is the pool's: it must
// not be closed, stopped or killed; Discard is for that.
func (l *Lease) Worker() *Worker {
	w, _ := l.ticket.seat.worker.(*Worker)
	return w
}

// Slot returns the number of the worker's slot.
func (l *Lease) Slot() int { return l.ticket.seat.slot }

// Pid returns the worker's pid.
func (l *Lease) Pid() int { return l.ticket.seat.worker.Pid() }

// Invoke makes a unary call on the worker, and Open starts one with messages. They
// do not wait for others and are never made again on another worker. Their
// errors are those of [Worker.Invoke], and [ErrReleased].
func (l *Lease) Invoke(ctx context.Context, req *Request, reply any) error {
	return l.newCall(req).invoke(ctx, reply)
}

// Open starts a call with messages; see Invoke.
func (l *Lease) Open(ctx context.Context, req *Request) (*Messages, error) {
	return l.newCall(req).open(ctx)
}

func (l *Lease) newCall(req *Request) *poolCall {
	c := l.pool.newCall(req)
	c.lease = l
	return c
}

// enter begins a call on the lease, when an earlier one that was given up has
// ended.
func (l *Lease) enter(ctx context.Context, c *poolCall) error {
	if err := l.pool.awaitSound(ctx, l.ticket.seat); err != nil {
		return err
	}
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if l.released {
		return ErrReleased
	}
	l.calls++
	l.pool.roster.stats.Running++
	c.ticket.seat = l.ticket.seat
	return nil
}

// vacate ends a call on the lease; the pool's mutex is held.
func (l *Lease) vacate(r *roster, now time.Time) {
	l.calls--
	r.stats.Running--
	l.free(r, now)
}

// free gives back the place when the lease is released and its last call has
// ended.
func (l *Lease) free(r *roster, now time.Time) {
	if l.released && l.calls == 0 {
		r.release(&l.ticket, now)
	}
}

// Release gives the worker back, when the calls in flight on the lease have ended.
// Releasing again, or after Discard, does nothing.
func (l *Lease) Release() { l.giveBack(false) }

// Discard is Release for a worker that should not be used any more: it takes no
// further calls, finishes those of others, and is replaced.
func (l *Lease) Discard() { l.giveBack(true) }

func (l *Lease) giveBack(discard bool) {
	l.pool.update(func(r *roster, now time.Time) {
		if l.released {
			return
		}
		l.released = true
		delete(l.pool.leases, l)
		if discard {
			r.discard(l.ticket.seat, now)
		}
		l.free(r, now)
	})
}

// left says what a pool still has to do; the mutex is not held.
func (p *Pool) left() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	count := func(n int, what string) {
		if n > 0 {
			list = append(list, fmt.Sprintf("%d %s", n, what))
		}
	}
	count(p.roster.queue.length, "in the queue")
	count(p.roster.stats.Running, "calls in flight")
	for l := range p.leases {
		list = append(list, fmt.Sprintf("a lease of worker %s (pid %d), acquired %v ago at %s",
			l.ticket.seat.worker.Name(), l.Pid(), time.Since(l.since).Round(time.Millisecond), l.where))
	}
	return errors.New("left are " + strings.Join(list, ", "))
}
