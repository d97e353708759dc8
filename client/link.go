package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/detached-workers/unref/transport"
)

// link is one connection to the worker, from before it is made until it is
// known why it ended.
type link struct {
	up    chan struct{} // closed when conn is there, or err is
	conn  *transport.Conn
	since time.Time // when it was made
	err   error     // why there is no connection

	once sync.Once
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

// isUp reports whether there is a connection.
func (l *link) isUp() bool {
	select {
	case <-l.up:
		return l.err == nil
	default:
		return false
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
	conn, err := dial(ctx, w.addr.Socket(), w.dialConfig(l), w.output.wake)
	if err != nil {
		if exit := w.proc.Err(); exit != nil {
			return exitedError(exit)
		}
		return err
	}
	return w.connected(l, conn)
}

// connected makes conn l's connection, unless the worker was closed meanwhile.
func (w *Worker) connected(l *link, conn *transport.Conn) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed && w.attached {
		w.tasks.Go(func() { conn.Close() })
		return ErrClosed
	}
	w.welcome = conn.Welcome()
	l.conn, l.since = conn, time.Now()
	close(l.up)
	w.output.wake()
	return nil
}

func (w *Worker) dialConfig(l *link) transport.DialConfig {
	var features []string
	if w.proc == nil { // else it has the file of its output
		features = append(features, transport.FeatureOutput)
	}
	if w.dialer.Observer {
		features = append(features, transport.FeatureObserver)
	}
	return transport.DialConfig{
		Hello: transport.Hello{
			Name:     w.addr.Name,
			Build:    w.build,
			Instance: w.addr.ID,
			Secret:   w.addr.Secret,
			Pid:      pid,
			Features: features,
		},
		MaxMessage: w.dialer.MaxMessage,
		Bell:       w.output.wake,
		Ended:      func() { w.tasks.Go(func() { w.reconnect(l) }) },
	}
}

// verdictPatience bounds how long calls that were cut off wait for it to be
// known whether the worker has ended. A worker's end is known within
// milliseconds; one that has not ended by then lives, and does not listen.
const verdictPatience = 2 * time.Second

// leftovers is how long what a connection has brought may be read after its end.
const leftovers = time.Second

// reconnect runs when the connection of old has ended without our doing. It
// finds out whether the worker has ended too, which settles the calls that
// were in flight, and dials again if not.
func (w *Worker) reconnect(old *link) {
	<-old.up
	if old.conn == nil { // the worker was closed while this connection was made
		return
	}
	w.tasks.Go(func() { old.conn.Linger(leftovers) })
	lost := old.conn.Err()
	next := newLink()
	w.mu.Lock()
	w.link = next
	w.mu.Unlock()
	defer time.AfterFunc(verdictPatience, func() { old.end(lost) }).Stop()
	w.pause(old)
	err := w.connectAgain(next)
	if w.attached && err != nil && !errors.Is(err, ErrWorkerExited) {
		err = w.gone(err)
	}
	if err == nil {
		old.end(lost)
		return
	}
	old.end(err)
	if !w.attached && !errors.Is(err, ErrWorkerExited) {
		// It lives, and does not know us any more: no use can be made of it.
		_ = w.proc.KillBecause(err.Error()) // what is left of it, a later start clears away
	}
	w.finish(err)
}

// connectAgain gives up an attached worker after verdictPatience: one that lives
// and does not listen is leaving, and another one has its place.
func (w *Worker) connectAgain(next *link) error {
	ctx := w.life
	if w.attached {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, verdictPatience)
		defer cancel()
	}
	return w.connect(ctx, next)
}

// gone says why an attached worker that may live is not to be had any more.
func (w *Worker) gone(err error) error {
	if w.life.Err() != nil {
		return ErrClosed
	}
	return fmt.Errorf("worker %s (pid %d) takes no more connections, attach again: %w", w.Name(), w.Pid(), err)
}

// end settles the calls that were in flight. The first verdict counts.
func (l *link) end(why error) {
	l.once.Do(func() {
		l.why = why
		close(l.over)
	})
}

// Connections that last less than stableAfter are made again with growing
// pauses, maxPause at most: a worker that drops each must not keep its parent
// busy.
const (
	stableAfter = time.Second
	maxPause    = time.Second
)

// pause waits before the next attempt to connect, if old was of short life, or
// until the process ends. Reconnects follow one another, so that drops needs no
// lock.
func (w *Worker) pause(old *link) {
	if time.Since(old.since) > stableAfter {
		w.drops = 0
		return
	}
	w.drops++
	if w.drops == 1 {
		return
	}
	timer := time.NewTimer(min(time.Millisecond<<min(w.drops, 20), maxPause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.proc.Done():
	}
}

// finish runs once, when the worker has ended or can't be used any more.
func (w *Worker) finish(err error) {
	w.tasks.Go(w.output.finish)
	w.mu.Lock()
	if w.proc.Err() == nil {
		w.err = err
	}
	w.mu.Unlock()
	l := w.current()
	l.err = err
	close(l.up)
	if !errors.Is(err, ErrClosed) {
		close(w.done)
	}
}
