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
	dialer   Dialer
	addr     lifecycle.Address
	build    string             // that it must have, empty for any
	proc     *lifecycle.Process // nil until an existing worker has answered
	attached bool               // it is not ours: Close only lets go of it
	decision Decision
	codec    transport.Codec
	output   *output
	done     chan struct{} // closed when the worker can't be used any more
	tasks    sync.WaitGroup
	drops    int // connections of short life in a row; see pause

	life  context.Context // of what reconnects; not that of any call
	letGo context.CancelFunc

	mu      sync.Mutex // protects what follows
	link    *link
	welcome transport.Welcome
	closed  bool
	err     error // why the worker can't be used any more, if its process lives
}

func newWorker(d *Dialer, addr lifecycle.Address, build string) *Worker {
	w := &Worker{
		dialer: *d,
		addr:   addr,
		build:  build,
		codec:  transport.Codec{Strict: d.Strict},
		done:   make(chan struct{}),
		link:   newLink(),
	}
	w.dialer.MethodTimeout = maps.Clone(d.MethodTimeout)
	w.life, w.letGo = context.WithCancel(context.Background())
	w.output = &output{tasks: &w.tasks}
	return w
}

// newStarted returns a worker that this program has started, for itself or for
// everybody.
func newStarted(d *Dialer, build string, proc *lifecycle.Process, shared bool) *Worker {
	w := newWorker(d, proc.Address(), build)
	w.proc, w.attached = proc, shared
	w.output.begin(proc, d.logger(), proc.Output())
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
func (w *Worker) Name() string { return w.addr.Name }

// Pid returns the pid of the process that was started, or of the worker's own
// if another program has started it. Behind a wrapper script the worker's own
// is in Welcome.
func (w *Worker) Pid() int { return w.proc.Pid() }

// Welcome returns what the worker said of itself in the last handshake.
func (w *Worker) Welcome() transport.Welcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.welcome
}

// Done is closed when the process is gone, with all that belonged to it. For an
// attached worker it is also closed when that takes no more connections, because
// it is leaving or has been replaced, and never after Close.
func (w *Worker) Done() <-chan struct{} { return w.done }

// Err returns nil while the worker can be used, and then an error that wraps
// [ErrWorkerExited] and a [*lifecycle.ExitError], whatever the exit status, or
// for an attached worker that lives and takes no more connections
// [ErrNotListening].
func (w *Worker) Err() error {
	select {
	case <-w.done:
	default:
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	return exitedError(w.proc.Err())
}

// Decision returns what [Dialer.Attach] has done and why. It is zero after
// Start.
func (w *Worker) Decision() Decision { return w.decision }

// Process returns the worker's process.
func (w *Worker) Process() *lifecycle.Process { return w.proc }

// Close is for when the caller is done with the worker. A worker that was
// started it stops politely, by force if need be, and returns when it is gone:
// after its grace, at the worst some seconds later; calls in flight may finish
// within the grace. Of one that was attached it only lets go: the connection
// is closed, calls in flight fail with [ErrClosed], what the worker has printed
// so far is logged, and the worker goes on.
func (w *Worker) Close() error { return w.closeWithin(context.Background()) }

// closeWithin is Close, but kills a worker of our own when ctx ends.
func (w *Worker) closeWithin(ctx context.Context) error {
	if w.attached {
		w.release()
		return nil
	}
	return w.Stop(ctx)
}

// release ends everything of an attached worker in this process.
func (w *Worker) release() {
	if !w.close() {
		return
	}
	w.letGo()
	if l := w.current(); l.isUp() {
		l.conn.Close()
		l.end(ErrClosed)
	}
	w.output.drain()
	w.proc.Release()
	if w.awaitTasks(loggerPatience) {
		w.proc.CloseOutput()
	}
}

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
	if err := w.killBy(w.proc.Kill); err != nil {
		return fmt.Errorf("kill worker %s (pid %d): %w", w.Name(), w.Pid(), err)
	}
	return nil
}

// killBy refuses further calls, and returns when kill has ended the worker.
func (w *Worker) killBy(kill func() error) error {
	w.close()
	err := kill()
	w.await(loggerPatience)
	return err
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
	if w.life.Err() == nil { // else nobody looks after the connection any more
		<-w.done
	}
	w.awaitTasks(patience)
}

// awaitTasks waits for all goroutines of the worker in this process, and reports
// whether they have ended.
func (w *Worker) awaitTasks(patience time.Duration) bool {
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		w.tasks.Wait()
	}()
	select {
	case <-logged:
		return true
	case <-time.After(patience):
		return false
	}
}
