package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/detached-workers/unref/transport"
)

// link is one connection to the worker, from before it is made until it is
// known why it ended.
type link struct {
	up   chan struct{} // closed when conn is there, or err is
	conn *transport.Conn
	err  error         // why there is no connection
	over chan struct{} // closed when it is known why the connection ended
	why  error         // what calls that were in flight then get
}

func newLink() *link {
	return &link{up: make(chan struct{}), over: make(chan struct{})}
}

// wait returns when there is a connection.
func (l *link) wait(ctx context.Context) error {
	select {
	case <-l.up:
		return l.err
	case <-ctx.Done():
		return fmt.Errorf("wait for a connection: %w", ctx.Err())
	}
}

// verdict waits until it is known why the connection ended.
func (l *link) verdict(ctx context.Context) error {
	select {
	case <-l.over:
		return l.why
	case <-ctx.Done():
		return ctx.Err()
	}
}

// current returns the link for the next call.
func (w *Worker) current() *link {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.link
}

// connect makes l's connection. It fails when ctx ends, when the process does,
// or when the worker refuses.
func (w *Worker) connect(ctx context.Context, l *link) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.tasks.Go(func() {
		select {
		case <-w.proc.Done():
			cancel()
		case <-ctx.Done():
		}
	})
	conn, err := dial(ctx, w.proc.Socket(), w.dialConfig(l), w.output.wake)
	if err != nil {
		if exit := w.proc.Err(); exit != nil {
			return exitedError(exit)
		}
		return err
	}
	w.mu.Lock()
	w.welcome = conn.Welcome()
	w.mu.Unlock()
	l.conn = conn
	close(l.up)
	w.output.wake()
	return nil
}

func (w *Worker) dialConfig(l *link) transport.DialConfig {
	return transport.DialConfig{
		Hello: transport.Hello{
			Name:     w.proc.Name(),
			Build:    w.cmd.Build,
			Instance: w.proc.ID(),
			Secret:   w.proc.Secret(),
			Pid:      pid,
		},
		MaxMessage: w.dialer.MaxMessage,
		Bell:       w.output.wake,
		Ended:      func() { w.tasks.Go(func() { w.reconnect(l) }) },
	}
}

// reconnect runs when the connection of old has ended without our doing. It
// finds out whether the worker has ended too, which settles the calls that
// were in flight, and dials again if not.
func (w *Worker) reconnect(old *link) {
	<-old.up
	old.conn.Close()
	next := newLink()
	w.mu.Lock()
	w.link = next
	w.mu.Unlock()
	err := w.connect(context.Background(), next)
	if err == nil {
		old.end(ErrConnectionLost)
		return
	}
	old.end(err)
	if !errors.Is(err, ErrWorkerExited) {
		// It lives, and does not know us any more: no use can be made of it.
		_ = w.proc.KillBecause(err.Error()) // what is left of it, a later start clears away
	}
	w.finish(err)
}

func (l *link) end(why error) {
	l.why = why
	close(l.over)
}

// finish runs once, when the worker has ended.
func (w *Worker) finish(err error) {
	w.tasks.Go(w.output.finish)
	l := w.current()
	l.err = err
	close(l.up)
	close(w.done)
}
