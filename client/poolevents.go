package client

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/detached-workers/unref/transport"
)

// following is a subscription on a pool: one on each of its workers, as they come
// and go.
type following struct {
	pool   *Pool
	ctx    context.Context // of the subscription, which the calls of its methods are part of
	end    context.CancelFunc
	names  []string
	events chan rawEvent // unbuffered; sent by the followers, and never closed
	tasks  sync.WaitGroup

	mu       sync.Mutex              // protects what follows
	followed map[poolWorker]struct{} // each by one follower
	alone    chan struct{}           // closed when there is no follower and will be none
	over     bool                    // there will be no more
}

// subscribe subscribes to all workers that there are. Those that come later are
// subscribed to before they are given calls.
func (p *Pool) subscribe(ctx context.Context, names []string) (eventSource, error) {
	f := &following{
		pool: p, names: names, events: make(chan rawEvent), followed: make(map[poolWorker]struct{}), alone: make(chan struct{}),
	}
	f.ctx, f.end = context.WithCancel(ctx)
	context.AfterFunc(f.ctx, f.quit)
	for _, w := range p.join(f) {
		if err := f.follow(ctx, w); err != nil {
			f.stop()
			return nil, err
		}
	}
	return f, nil
}

// join makes a subscription one of the pool's and returns the workers that there
// are.
func (p *Pool) join(f *following) (workers []poolWorker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.followings[f] = struct{}{}
	for _, s := range p.roster.seats {
		if s.worker != nil {
			workers = append(workers, s.worker)
		}
	}
	return workers
}

// subscribeTimeout is how long a worker that has started has to take the pool's
// subscriptions. One that takes longer is of no use, which its calls will show.
const subscribeTimeout = 5 * time.Second

// introduce makes a worker that has started known to the pool's subscriptions.
// Those that are not made when ctx ends come to nothing.
func (p *Pool) introduce(ctx context.Context, s *seat, w poolWorker) {
	ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
	defer cancel()
	p.mu.Lock()
	s.worker = w
	followings := slices.Collect(maps.Keys(p.followings))
	p.mu.Unlock()
	for _, f := range followings {
		_ = f.follow(ctx, w) // the same error ended the subscription on the first worker
	}
}

// follow subscribes to a worker, unless that was done before. ctx bounds that
// only. A worker that ends meanwhile is no error.
func (f *following) follow(ctx context.Context, w poolWorker) error {
	if !f.begin(w) {
		return nil
	}
	life, end := context.WithCancel(f.ctx)
	bounded := context.AfterFunc(ctx, end)
	source, err := w.subscribe(life, f.names)
	bounded()
	if err != nil {
		end()
		f.left(w)
		if _, answered := errors.AsType[*transport.Error](err); answered || errors.Is(err, errors.ErrUnsupported) || f.ctx.Err() != nil {
			return err
		}
		return nil
	}
	f.tasks.Go(func() {
		defer f.left(w)
		defer end()
		defer source.stop()
		f.forward(source)
	})
	return nil
}

// begin counts a follower, if there is to be one.
func (f *following) begin(w poolWorker) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.followed[w]; known || f.over {
		return false
	}
	f.followed[w] = struct{}{}
	return true
}

// left notes that a follower has ended.
func (f *following) left(w poolWorker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.followed, w)
	f.checkAlone()
}

// checkAlone says so when there is no follower and will be none; mu is held.
func (f *following) checkAlone() {
	if f.over && len(f.followed) == 0 {
		select {
		case <-f.alone:
		default:
			close(f.alone)
		}
	}
}

// forward hands on the events of one worker.
func (f *following) forward(source eventSource) {
	for {
		e, err := source.next()
		if err != nil {
			return
		}
		select {
		case f.events <- e:
		case <-f.ctx.Done():
			return
		}
	}
}

// next returns the next event of any worker, and [ErrClosed] after the last one
// of a pool that is closed.
func (f *following) next() (rawEvent, error) {
	select {
	case e := <-f.events:
		return e, nil
	case <-f.ctx.Done():
		return rawEvent{}, f.ctx.Err()
	case <-f.pool.closed:
	}
	f.finish()
	select {
	case e := <-f.events:
		return e, nil
	case <-f.ctx.Done():
		return rawEvent{}, f.ctx.Err()
	case <-f.alone:
		return rawEvent{}, errPoolClosed
	}
}

// finish takes no more followers.
func (f *following) finish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.checkAlone()
}

// quit ends the subscription on workers that are still to come.
func (f *following) quit() {
	f.pool.mu.Lock()
	delete(f.pool.followings, f)
	f.pool.mu.Unlock()
	f.finish()
}

func (f *following) stop() {
	f.end()
	f.quit()
	<-f.alone // else a follower could still begin
	f.tasks.Wait()
}
