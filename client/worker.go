package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// Worker is a worker process to make calls on. All methods are safe for
// concurrent use, in any state, and may be called again.
type Worker struct {
	dialer Dialer
	cmd    *lifecycle.Command // this worker's own copy
	proc   *lifecycle.Process
	codec  transport.Codec
	output *output
	done   chan struct{} // closed when the process is gone
	tasks  sync.WaitGroup
	drops  int // connections of short life in a row; see pause

	mu      sync.Mutex // protects what follows
	link    *link
	welcome transport.Welcome
	closed  bool
}

func newWorker(d *Dialer, cmd *lifecycle.Command, proc *lifecycle.Process) *Worker {
	w := &Worker{
		dialer: *d,
		cmd:    cmd,
		proc:   proc,
		codec:  transport.Codec{Strict: d.Strict},
		done:   make(chan struct{}),
		link:   newLink(),
	}
	w.dialer.MethodTimeout = maps.Clone(d.MethodTimeout)
	w.output = newOutput(proc, d.logger(), &w.tasks)
	return w
}

// start connects for the first time. On failure nothing is left.
func (w *Worker) start(ctx context.Context, limit time.Duration) error {
	started := time.Now()
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("not ready after %v: %w", limit, context.DeadlineExceeded))
		defer cancel()
	}
	err := w.connect(ctx, w.link)
	if err == nil {
		w.proc.Ready()
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, ErrWorkerExited) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return w.abandon(started, err)
}

// abandon clears away a worker that did not get ready. One that hangs is made
// to say where, if it can.
func (w *Worker) abandon(started time.Time, err error) error {
	elapsed := time.Since(started)
	kill := w.proc.KillBecause
	if errors.Is(err, context.DeadlineExceeded) {
		kill = w.proc.KillWithStacks
	}
	killErr := kill("it did not get ready")
	w.finish(err)
	w.await(startLoggerPatience)
	e := &StartError{Name: w.Name(), Pid: w.Pid(), Elapsed: elapsed, Err: errors.Join(err, killErr)}
	if exit, ok := errors.AsType[*lifecycle.ExitError](w.proc.Err()); ok {
		e.Output, e.excerpt = exit.Output, exit.Excerpt()
	}
	return e
}

// Name returns the worker's name.
func (w *Worker) Name() string { return w.proc.Name() }

// Pid returns the pid of the process that was started. Behind a wrapper script
// the worker's own is in Welcome.
func (w *Worker) Pid() int { return w.proc.Pid() }

// Welcome returns what the worker said of itself in the last handshake.
func (w *Worker) Welcome() transport.Welcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.welcome
}

// Done is closed when the process is gone, with all that belonged to it.
func (w *Worker) Done() <-chan struct{} { return w.done }

// Err returns nil while the worker lives, and then an error that wraps
// [ErrWorkerExited] and a [*lifecycle.ExitError], whatever the exit status.
func (w *Worker) Err() error {
	select {
	case <-w.done:
		return exitedError(w.proc.Err())
	default:
		return nil
	}
}

// Process returns the worker's process.
func (w *Worker) Process() *lifecycle.Process { return w.proc }

// Close stops the worker politely, by force if need be, and returns when it is
// gone: after its grace, at the worst some seconds later. Calls in flight may
// finish within the grace.
func (w *Worker) Close() error { return w.Stop(context.Background()) }

// shutdownTimeout bounds the wait for the worker to take the request to leave.
const shutdownTimeout = time.Second

// Stop asks the worker to leave, then sends SIGTERM, then kills it and all
// processes below it, each after a bounded wait, and returns when all are
// gone. When ctx ends it kills at once. The error is nil if the worker left by
// itself or had left before; it wraps [ErrForced] if it had to be killed.
func (w *Worker) Stop(ctx context.Context) error {
	if w.close() {
		w.askToLeave(ctx)
	}
	forced, err := w.proc.Stop(ctx)
	w.await(loggerPatience)
	if err == nil && forced {
		err = ErrForced
	}
	if err != nil {
		return fmt.Errorf("stop worker %s (pid %d): %w", w.Name(), w.Pid(), err)
	}
	return nil
}

// Kill ends the worker and all processes below it at once, and returns when
// they are gone.
func (w *Worker) Kill() error {
	w.close()
	err := w.proc.Kill()
	w.await(loggerPatience)
	if err != nil {
		return fmt.Errorf("kill worker %s (pid %d): %w", w.Name(), w.Pid(), err)
	}
	return nil
}

// close refuses further calls and reports whether it was the first to do so.
func (w *Worker) close() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := !w.closed
	w.closed = true
	return first
}

func (w *Worker) askToLeave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	l := w.current()
	if l.wait(ctx) != nil {
		return
	}
	if _, err := l.conn.Call(ctx, transport.Request{Method: string(transport.MethodShutdown)}); err == nil {
		w.proc.ExitAsked()
	}
}

// How long Close, Stop and Kill, and a failed start, wait until the logger has
// taken the last output. A slow logger, or one that hangs, must not keep anybody
// from stopping a worker or learning of its death; it goes on in the background.
const (
	loggerPatience      = 2 * time.Second
	startLoggerPatience = 50 * time.Millisecond
)

// await returns when nothing of the worker runs in this process any more, but
// for a logger that takes longer than patience.
func (w *Worker) await(patience time.Duration) {
	select {
	case <-w.proc.Done():
	default:
		return // it could not be killed
	}
	<-w.done
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		w.tasks.Wait()
	}()
	select {
	case <-logged:
	case <-time.After(patience):
	}
}
