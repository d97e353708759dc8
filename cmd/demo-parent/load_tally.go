package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// tally counts what has become of requests. It is safe for concurrent use while they run.
type tally struct {
	workers int           // that the server has; 0 if that is not known
	elapsed time.Duration // while requests were under way

	mu        sync.Mutex      // protects what follows
	latencies []time.Duration // of those that were answered; in order when they have all ended
	refused   int             // answers of 503
	failed    int
	failure   error // the first
}

// done takes the outcome of a request. One that was given up because all were is none.
func (t *tally) done(ctx context.Context, took time.Duration, refused int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused += refused
	switch {
	case err == nil:
		t.latencies = append(t.latencies, took)
	case ctx.Err() != nil || errors.Is(err, errRefused):
	default:
		t.failed++
		if t.failure == nil {
			t.failure = err
		}
	}
}

// sort is called when all requests have ended.
func (t *tally) sort() { slices.Sort(t.latencies) }

// rate is how many requests were answered per second.
func (t *tally) rate() float64 {
	if t.elapsed <= 0 {
		return 0
	}
	return float64(len(t.latencies)) / t.elapsed.Seconds()
}

// quantile returns the time that the part q of those that were answered have not exceeded, 0 if none was.
func (t *tally) quantile(q float64) time.Duration {
	n := len(t.latencies)
	if n == 0 {
		return 0
	}
	return t.latencies[min(n-1, int(q*float64(n)))]
}
