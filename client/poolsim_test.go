package client

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/detached-workers/unref/lifecycle"
)

// fakes starts fake workers for a pool and knows them all.
type fakes struct {
	mu        sync.Mutex    // protects what follows
	startTime time.Duration // that each start takes
	handle    fakeHandler
	fail      error // of starts
	started   []*fakeWorker
	tries     []time.Time // of starts
	alive     int
	most      int // alive at once, those that start or end included
}

func (f *fakes) start(ctx context.Context, slot int, cmd *lifecycle.Command) (poolWorker, error) {
	f.mu.Lock()
	f.tries = append(f.tries, time.Now())
	f.alive++
	f.most = max(f.most, f.alive)
	startTime := f.startTime
	f.mu.Unlock()
	err := rest(ctx, startTime)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		err = f.fail
	}
	if err != nil {
		f.alive--
		return nil, err
	}
	w := &fakeWorker{slot: slot, pid: 1000 + len(f.started), build: cmd.Build, handle: f.serve, done: make(chan struct{}), gone: func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.alive--
	}}
	f.started = append(f.started, w)
	return w, nil
}

// serve is the handler of all workers.
func (f *fakes) serve(ctx context.Context, w *fakeWorker, req *Request) error {
	f.mu.Lock()
	handle := f.handle
	f.mu.Unlock()
	return handle(ctx, w, req)
}

func (f *fakes) setHandle(h fakeHandler) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handle = h
}

// rest waits for d, or until ctx ends.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// living returns the workers that are ready and have not ended.
func (f *fakes) living() (list []*fakeWorker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.started {
		if w.Err() == nil {
			list = append(list, w)
		}
	}
	return list
}

// all returns the workers that were ever ready, and peak how many were alive at
// once.
func (f *fakes) all() []*fakeWorker {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.started)
}

func (f *fakes) peak() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.most
}

func (f *fakes) setFail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

func (f *fakes) starts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.tries)
}

// simulate runs test with a pool of fake workers, in virtual time. A worker takes
// as long for a call as its body says, a [time.Duration], and 10 ms to start.
func simulate(t *testing.T, cfg PoolConfig, test func(t *testing.T, p *Pool, f *fakes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fakes{startTime: 10 * time.Millisecond, handle: sleepFor}
		if cfg.Command == nil {
			cfg.Command = &lifecycle.Command{Path: "fake"}
		}
		if err := cfg.validate(); err != nil {
			t.Fatal(err)
		}
		p := newPool(cfg.withDefaults())
		p.start = f.start
		p.update(func(*roster, time.Time) {})
		test(t, p, f)
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		if f.alive != 0 {
			t.Errorf("%d workers are left after Kill", f.alive)
		}
		if n := len(p.roster.seats); n != 0 {
			t.Errorf("%d seats are left after Kill", n)
		}
		if p.roster.stats.Running != 0 || p.roster.stats.Leases != 0 || p.roster.queue.length != 0 {
			t.Errorf("left after Kill: %d running, %d leases, %d queued", p.roster.stats.Running, p.roster.stats.Leases, p.roster.queue.length)
		}
	})
}

// sleepFor is the usual handler.
func sleepFor(ctx context.Context, w *fakeWorker, req *Request) error {
	d, _ := req.Body.(time.Duration)
	return rest(ctx, d)
}

// do makes a call that takes d and returns the pid of the worker that had it.
func do(ctx context.Context, c Caller, d time.Duration, opts ...CallOption) (pid int, err error) {
	err = c.Invoke(ctx, newRequest("sleep", 0, d, opts), &pid)
	return pid, err
}

func TestPoolServesCallsOfMoreCallersThanWorkers(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 3, CallsPerWorker: 2}, func(t *testing.T, p *Pool, f *fakes) {
		began := time.Now()
		var wg sync.WaitGroup
		for range 60 {
			wg.Go(func() {
				if _, err := do(t.Context(), p, time.Second); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("60 calls of 1 s took %v, want about 10 s with 6 places", took)
		}
		if f.peak() > 3 {
			t.Errorf("%d workers at once, want at most 3", f.peak())
		}
		for _, w := range f.all() {
			if w.most > 2 {
				t.Errorf("%d calls at once on a worker, want at most 2", w.most)
			}
		}
		stats := p.Stats()
		if stats.Calls != 60 || stats.Failed != 0 || stats.Run.Count != 60 || stats.Wait.Count != 60 || stats.Starts != 3 {
			t.Errorf("stats after 60 calls: %+v", stats)
		}
		if got := stats.Run.Quantile(0.5); got < time.Second || got > 1125*time.Millisecond {
			t.Errorf("median run time %v, want 1 s to an eighth", got)
		}
	})
}

// pass lets virtual time pass.
func pass(d time.Duration) { _ = rest(context.Background(), d) }

// ready waits until the pool is.
func ready(t *testing.T, p *Pool) {
	t.Helper()
	if err := p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}
