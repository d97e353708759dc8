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
	// rss is the resident memory in bytes.
	rss() int64
}

func (w *Worker) closeWithin(ctx context.Context) error {
	if w.attached {
		w.release()
		return nil
	}
	return w.Stop(ctx)
}

func (w *Worker) killBecause(reason string, stacks bool) error {
	w.close()
	kill := w.proc.KillBecause
	if stacks {
		kill = w.proc.KillWithStacks
	}
	err := kill(reason)
	w.await(loggerPatience)
	return err
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
	command := *p.command
	p.tasks.Go(func() {
		defer end()
		p.tend(ctx, s, &command)
	})
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
}

// obtain has the worker for a slot started as the pool's user wants it.
func (p *Pool) obtain(ctx context.Context, slot int, cmd *lifecycle.Command) (poolWorker, error) {
	if p.cfg.Prepare != nil {
		cmd.Args, cmd.Env = slices.Clone(cmd.Args), slices.Clone(cmd.Env)
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
	kill, why, detail, mute := s.kill, s.why, s.detail, s.mute
	p.mu.Unlock()
	if !kill || why == ReasonClosed && p.cfg.Name != "" {
		p.noteForced(w.closeWithin(p.killed))
		return
	}
	err := w.killBecause(detail, mute)
	if why == ReasonClosed {
		p.noteForced(fmt.Errorf("worker %s (pid %d) was killed: %w", w.Name(), w.Pid(), errors.Join(ErrForced, err)))
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
