package client

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// fakeHandler handles the calls of fake workers.
type fakeHandler func(ctx context.Context, w *fakeWorker, req *Request) error

// fakeWorker stands for a process in tests of the pool, in virtual time.
type fakeWorker struct {
	slot, pid int
	build     string // of the command

	mu     sync.Mutex // protects what follows
	handle fakeHandler
	calls  int // in flight
	most   int // in flight at once
	served int

	once   sync.Once
	gone   func() // called when it has ended
	done   chan struct{}
	err    error
	memory atomic.Int64
}

// die ends the worker as a crash does.
func (w *fakeWorker) die(why string) {
	w.end(&lifecycle.ExitError{Name: "fake", Pid: w.pid, Code: 3, Ready: true, Killed: why})
}

func (w *fakeWorker) end(exit *lifecycle.ExitError) {
	w.once.Do(func() {
		w.err = exitedError(exit)
		w.gone()
		close(w.done)
	})
}

func (w *fakeWorker) inFlight(context.Context) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(w.calls), nil
}

func (w *fakeWorker) forgetOutput() {}

func (w *fakeWorker) Name() string          { return "fake" }
func (w *fakeWorker) Pid() int              { return w.pid }
func (w *fakeWorker) Decision() Decision    { return Decision{} }
func (w *fakeWorker) Done() <-chan struct{} { return w.done }
func (w *fakeWorker) rss() int64            { return w.memory.Load() }
func (w *fakeWorker) Err() error {
	select {
	case <-w.done:
		return w.err
	default:
		return nil
	}
}

func (w *fakeWorker) Stacks(context.Context) (string, error) { return "goroutine 1 [stuck]:", nil }

// subscribe waits as long as it may: the worker does not answer.
func (w *fakeWorker) subscribe(ctx context.Context, _ []string) (eventSource, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-w.done:
		return nil, w.err
	}
}

func (w *fakeWorker) closeWithin(context.Context) error {
	w.end(&lifecycle.ExitError{Name: "fake", Pid: w.pid, Ready: true})
	return nil
}

func (w *fakeWorker) killBecause(reason string, _ bool) error {
	w.die(reason)
	return nil
}

func (w *fakeWorker) Open(context.Context, *Request) (*Messages, error) {
	return nil, errors.ErrUnsupported
}

// Invoke runs handle, and replies with the worker's pid. The call is cut off by the worker's death.
func (w *fakeWorker) Invoke(ctx context.Context, req *Request, reply any) error {
	if err := w.Err(); err != nil {
		return notSent(err)
	}
	w.mu.Lock()
	w.calls++
	w.served++
	w.most = max(w.most, w.calls)
	handle := w.handle
	w.mu.Unlock()
	handling, cancel := context.WithCancel(context.WithoutCancel(ctx))
	answer := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := handle(handling, w, req)
		w.mu.Lock()
		w.calls--
		w.mu.Unlock()
		answer <- err
	}()
	defer cancel()
	var limit <-chan struct{}
	if req.Timeout > 0 {
		timed, stop := context.WithTimeout(context.Background(), req.Timeout)
		defer stop()
		limit = timed.Done()
	}
	select {
	case err := <-answer:
		*reply.(*int) = w.pid
		return err
	case <-w.done:
		return w.err
	case <-limit:
		req.abandoned(ended)
		return &transport.Error{Code: transport.CodeDeadline, Method: req.Method}
	case <-ctx.Done():
		req.abandoned(ended)
		return &transport.Error{Code: transport.CodeCanceled, Method: req.Method}
	}
}
