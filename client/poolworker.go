package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/detached-workers/unref/lifecycle"
)

// poolWorker is what a pool needs of a [Worker].
type poolWorker interface {
	Caller
	Name() string
	Pid() int
	Decision() Decision
	Done() <-chan struct{}
	Err() error
	Stacks(context.Context) (string, error)
	subscribe(ctx context.Context, names []string) (eventSource, error)

	// closeWithin is Close, but kills a worker of our own when ctx ends.
	closeWithin(ctx context.Context) error
	// killBecause kills the worker. With stacks it is made to print those of its
	// goroutines before, if it can.
	killBecause(reason string, stacks bool) error
	// inFlight is how many calls the worker runs, notifications included.
	inFlight(ctx context.Context) (int64, error)
	// forgetOutput frees what holds the output of a worker that has ended.
	forgetOutput()
	// rss is the resident memory in bytes.
	rss() int64
}

func (w *Worker) killBecause(reason string, stacks bool) error {
	kill := w.proc.KillBecause
	if stacks {
		kill = w.proc.KillWithStacks
	}
	return w.killBy(func() error { return kill(reason) })
}

func (w *Worker) inFlight(ctx context.Context) (int64, error) {
	status, err := w.Status(ctx)
	return status.InFlight, err
}

func (w *Worker) forgetOutput() {
	if w.awaitTasks(loggerPatience) { // else the logger has still to take some
		w.proc.CloseOutput()
	}
}

func (w *Worker) rss() int64 { return lifecycle.ReadUsage(w.Pid()).RSS }

// startWorker starts the worker for a slot, or attaches to it.
func (p *Pool) startWorker(ctx context.Context, slot int, cmd *lifecycle.Command) (poolWorker, error) {
	start := p.dialer.Start
	if p.cfg.Name != "" {
		start = func(ctx context.Context, cmd *lifecycle.Command) (*Worker, error) {
			return p.dialer.Attach(ctx, slotName(p.cfg.Name, slot), cmd)
		}
	}
	w, err := start(ctx, cmd)
	if err != nil {
		return nil, err // and no worker that is not nil and has none in it
	}
	return w, nil
}

// open begins the life of a seat's worker; mu is held.
func (p *Pool) open(s *seat) {
	ctx, end := context.WithCancel(context.Background())
	s.end = end
	command := cloneCommand(p.command)
	p.tasks.Go(func() {
		defer end()
		p.tend(ctx, s, command)
	})
}

// cloneCommand copies a command but for its Config.
func cloneCommand(c *lifecycle.Command) *lifecycle.Command {
	clone := *c
	clone.Args, clone.Env, clone.FingerprintEnv = slices.Clone(c.Args), slices.Clone(c.Env), slices.Clone(c.FingerprintEnv)
	return &clone
}

// tend starts a seat's worker and looks after it until its process is gone. When
// ctx ends it ends the start, or the worker.
func (p *Pool) tend(ctx context.Context, s *seat, cmd *lifecycle.Command) {
	w, err := p.obtain(ctx, s.slot, cmd)
	if err != nil {
		p.update(func(r *roster, now time.Time) { r.startFailed(s, err, now) })
		return
	}
	p.introduce(ctx, s, w)
	p.update(func(r *roster, now time.Time) { r.started(s, now) })
	select {
	case <-w.Done():
		_ = w.closeWithin(ctx) // it is gone already
	case <-ctx.Done():
		p.stopWorker(s, w)
	}
	p.update(func(r *roster, now time.Time) { r.gone(s, reasonOf(w.Err()), w.Err(), now) })
	w.forgetOutput()
}

// obtain has the worker for a slot started as the pool's user wants it.
func (p *Pool) obtain(ctx context.Context, slot int, cmd *lifecycle.Command) (poolWorker, error) {
	if p.cfg.Prepare != nil {
		if err := p.cfg.Prepare(slot, cmd); err != nil {
			return nil, fmt.Errorf("prepare the worker in slot %d: %w", slot, err)
		}
	}
	return p.start(ctx, slot, cmd)
}

// stopWorker ends a worker as was decided, and notes if that took force though
// nothing is wrong with it. One that is shared is let go of when the pool is
// closed, whatever it does.
func (p *Pool) stopWorker(s *seat, w poolWorker) {
	p.mu.Lock()
	kill, why, detail, mute, notified := s.kill, s.why, s.detail, s.mute, s.notified
	p.mu.Unlock()
	if !kill || why == ReasonClosed && p.cfg.Name != "" {
		if notified && p.cfg.Name == "" {
			p.noteForced(p.awaitNotifications(w))
		}
		p.noteForced(w.closeWithin(p.killed))
		return
	}
	err := w.killBecause(detail, mute)
	if why == ReasonClosed {
		p.noteForced(fmt.Errorf("worker %s (pid %d) was killed: %w", w.Name(), w.Pid(), errors.Join(ErrForced, err)))
	}
}

// The pauses between two looks at whether the notifications of a worker have ended.
const (
	minLook = time.Millisecond
	maxLook = 100 * time.Millisecond
)

// awaitNotifications waits for the notifications that a worker still runs, which
// have no place there, for DrainTimeout or until the pool's own time to close is
// over.
func (p *Pool) awaitNotifications(w poolWorker) error {
	ctx, cancel := p.rushed, context.CancelFunc(func() {})
	if p.cfg.DrainTimeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, p.cfg.DrainTimeout)
	}
	defer cancel()
	for pause := minLook; ; pause = min(2*pause, maxLook) {
		n, err := w.inFlight(ctx)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("worker %s (pid %d) was stopped before its notifications had ended: %w", w.Name(), w.Pid(), ErrForced)
		case err != nil || n == 0: // one that does not say has none that could be waited for
			return nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-w.Done():
		}
		timer.Stop()
	}
}

// noteForced keeps the troubles in ending a worker for who closes the pool.
func (p *Pool) noteForced(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && p.roster.closing {
		p.forced = append(p.forced, err)
	}
}

// reasonOf tells from a worker's error why it has ended, if that was not the
// pool's doing.
func reasonOf(err error) Reason {
	exit, ok := errors.AsType[*lifecycle.ExitError](err)
	switch {
	case ok && exit.Limit != "":
		return ReasonLimit
	case !ok || exit.Code == 0:
		return ReasonExited
	}
	return ReasonCrashed
}
