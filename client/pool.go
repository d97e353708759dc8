package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/detached-workers/unref/lifecycle"
)

var (
	// ErrQueueFull reports a call on a pool with too many calls that wait.
	ErrQueueFull = errors.New("the pool's queue is full")

	// ErrQueueTimeout reports a call that has waited too long for a worker.
	ErrQueueTimeout = errors.New("the time in the pool's queue is over")
)

// poolClosed is the error of calls on a pool that was closed.
type poolClosed struct{}

func (poolClosed) Error() string        { return "the pool is closed" }
func (poolClosed) Is(target error) bool { return target == ErrClosed }

var errPoolClosed error = poolClosed{}

// Pool is a set of workers to make calls on. It starts workers as they are
// needed, gives each call to one of them, and replaces those that die. All
// methods are safe for concurrent use, in any state.
//
// A call on a pool settles once. It is made again, on another worker, if no
// handler can have seen it because its worker died or left, or if it may have run
// and is [Idempotent]; nothing else is run twice.
type Pool struct {
	cfg    PoolConfig // with defaults
	dialer Dialer
	start  func(ctx context.Context, slot int, cmd *lifecycle.Command) (poolWorker, error)
	tasks  sync.WaitGroup // one for each worker, and for each call that was given up

	closing sync.Once
	rushed  context.Context // ends when what there is to do is not waited for any longer
	rush    context.CancelFunc
	killed  context.Context // ends when no worker is asked to leave, but all are killed
	kill    context.CancelFunc
	closed  chan struct{} // closed when nothing of the pool is left
	fault   error         // of closing; set before closed is closed

	mu         sync.Mutex // protects what follows
	roster     *roster
	command    *lifecycle.Command // that workers are started with
	timer      *time.Timer        // rings when the roster has something to decide
	changed    chan struct{}      // closed when something has happened; nil if nobody waits for that
	leases     map[*Lease]struct{}
	followings map[*following]struct{} // subscriptions to events of the workers
	final      bool                    // no more tasks are begun
	forced     []error                 // of workers that did not leave when the pool was closed
}

// NewPool returns a pool and begins to start its first Min workers; [Pool.Ready]
// waits for them. An error names all faults of the settings.
func NewPool(cfg PoolConfig) (*Pool, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("new pool: %w", err)
	}
	p := newPool(cfg.withDefaults())
	p.start = p.startWorker
	p.update(func(*roster, time.Time) {})
	return p, nil
}

// newPool returns a pool that has done nothing yet.
func newPool(cfg PoolConfig) *Pool {
	p := &Pool{
		cfg:        cfg,
		closed:     make(chan struct{}),
		leases:     make(map[*Lease]struct{}),
		followings: make(map[*following]struct{}),
		roster:     newRoster(cfg, rand.Float64),
	}
	if cfg.Dialer != nil {
		p.dialer = *cfg.Dialer
	}
	p.command = cloneCommand(cfg.Command)
	p.rushed, p.rush = context.WithCancel(context.Background())
	p.killed, p.kill = context.WithCancel(context.Background())
	p.timer = time.AfterFunc(time.Hour, func() { p.update(func(*roster, time.Time) {}) })
	p.timer.Stop()
	return p
}

// update tells the roster what has happened, and does what follows from it.
func (p *Pool) update(tell func(*roster, time.Time)) {
	p.measure(p.decide(tell))
}

// decide is update but for the workers whose memory is to be looked at, which it
// returns.
func (p *Pool) decide(tell func(*roster, time.Time)) (measure []*seat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	before := p.roster.changes
	tell(p.roster, now)
	actions, next := p.roster.decide(now)
	for _, a := range actions {
		switch a.kind {
		case actStart:
			p.open(a.seat)
		case actEnd:
			a.seat.end()
		case actMeasure:
			measure = append(measure, a.seat)
		}
	}
	p.timer.Stop()
	if !next.IsZero() {
		p.timer.Reset(next.Sub(now))
	}
	if p.changed != nil && (p.roster.closing || p.roster.changes != before) {
		close(p.changed)
		p.changed = nil
	}
	return measure
}

// changes returns a channel that is closed when something has happened to a
// worker or the pool; mu is held.
func (p *Pool) changes() <-chan struct{} {
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.changed
}

// await returns when done does, which is asked with mu held, whenever something
// has changed.
func (p *Pool) await(ctx context.Context, done func() bool) error {
	for {
		p.mu.Lock()
		if done() {
			p.mu.Unlock()
			return nil
		}
		changed := p.changes()
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// measure looks at the memory of workers.
func (p *Pool) measure(seats []*seat) {
	for _, s := range seats {
		rss := s.worker.rss()
		p.update(func(r *roster, now time.Time) { r.weighed(s, rss, now) })
	}
}

// Ready returns when Min workers of the latest command are ready, and none of
// an older one takes calls any more. It returns an error when ctx ends, which
// wraps that of the last start if that failed, or the pool is closed or has
// failed for good.
func (p *Pool) Ready(ctx context.Context) error {
	var why error
	err := p.await(ctx, func() bool {
		why = p.unready()
		return why == nil || p.roster.closing || p.roster.restarts.spent
	})
	if err != nil {
		return fmt.Errorf("wait for the pool: %w: %w", err, why)
	}
	return why
}

// unready says why the pool is not ready; mu is held.
func (p *Pool) unready() error {
	r := p.roster
	serving := r.count(func(s *seat) bool { return s.takes() && s.generation == r.generation })
	outdated := r.count(func(s *seat) bool { return s.takes() && s.generation != r.generation })
	switch {
	case r.closing:
		return errPoolClosed
	case serving >= r.cfg.Min && outdated == 0:
		return nil
	case r.restarts.spent:
		return r.restarts.refusal()
	case r.restarts.err != nil:
		return fmt.Errorf("%d of %d workers are ready, the last failed so: %w", serving, r.cfg.Min, r.restarts.err)
	}
	return fmt.Errorf("%d of %d workers are ready", serving, r.cfg.Min)
}

// Reload has all workers replaced by ones that cmd describes, as planned: new
// ones start, calls go to them as soon as they are ready, and the old ones finish
// what they have, within DrainTimeout. It does not wait for any of that; Ready
// does. Starts of an older command that are not ready are called off. As after
// Revive the failures so far are forgotten. If the new workers do not start the
// old ones go on.
func (p *Pool) Reload(cmd *lifecycle.Command) error {
	if cmd == nil {
		return fmt.Errorf("reload: %w", errNoCommand)
	}
	if err := cmd.Validate(); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	var err error
	p.update(func(r *roster, now time.Time) {
		if r.closing {
			err = fmt.Errorf("reload: %w", errPoolClosed)
			return
		}
		p.command = cloneCommand(cmd)
		r.reload(now)
	})
	return err
}

// Revive has a pool whose workers have failed too often in a row start workers
// again, see MaxRestarts. It forgets the failures also if they were fewer.
func (p *Pool) Revive() {
	p.update(func(r *roster, now time.Time) {
		if r.restarts.revive(); r.broken {
			r.broken = false
			r.note(nil, PoolEvent{Kind: PoolRevived, Time: now})
		}
	})
}

// Drain takes no more calls and leases, and returns when all that there are have
// ended. The pool is of no use afterwards: close it. When ctx ends first the
// error names what is left: calls, and each lease with the place in the program
// where it was acquired.
func (p *Pool) Drain(ctx context.Context) error {
	p.update((*roster).close)
	err := p.await(ctx, func() bool { return p.roster.drained() })
	if err != nil {
		return fmt.Errorf("drain the pool: %w: %w", err, p.left())
	}
	return nil
}

// Close takes no more calls, lets those that there are go on for CloseTimeout,
// and then stops the workers; those that have something to do by then are killed.
// It returns when all are gone. The error names what was cut off, see
// [Pool.Drain], and the workers that were killed or had to be forced, which wraps
// [ErrForced]. A worker that does not leave by itself takes some seconds more.
func (p *Pool) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.CloseTimeout)
	defer cancel()
	return p.Stop(ctx)
}

// Stop is Close with ctx in the place of CloseTimeout.
func (p *Pool) Stop(ctx context.Context) error {
	p.begin()
	defer context.AfterFunc(ctx, p.rush)()
	<-p.closed
	if p.fault != nil {
		return fmt.Errorf("close the pool: %w", p.fault)
	}
	return nil
}

// Kill kills all workers at once and returns when they are gone. Calls that they
// have fail.
func (p *Pool) Kill() error {
	p.kill()
	p.rush()
	p.begin()
	<-p.closed
	return nil
}

// begin begins to close the pool.
func (p *Pool) begin() {
	p.closing.Do(func() {
		go p.shutDown() // which closed tells the end of
	})
}

// shutDown ends the pool: it waits for what there is to do, ends the workers, and
// waits for them.
func (p *Pool) shutDown() {
	p.update((*roster).close)
	left := p.await(p.rushed, func() bool { return p.roster.drained() })
	if left != nil {
		left = fmt.Errorf("cut off: %w", p.left())
	}
	p.update(func(r *roster, now time.Time) { r.dismiss(false, now) })
	stop := context.AfterFunc(p.killed, func() {
		p.update(func(r *roster, now time.Time) { r.dismiss(true, now) })
	})
	p.mu.Lock()
	p.final = true
	p.mu.Unlock()
	p.tasks.Wait()
	stop()
	p.update(func(r *roster, now time.Time) { r.note(nil, PoolEvent{Kind: PoolClosed, Time: now}) })
	p.timer.Stop()
	if p.killed.Err() == nil {
		p.fault = errors.Join(append([]error{left}, p.forced...)...)
	}
	p.rush()
	p.kill()
	close(p.closed)
}

func (p *Pool) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
	}
}
