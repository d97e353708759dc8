package harness

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// scale measures a parent with as many workers as the key "workers" says.
func scale(ctx context.Context, s System, o options) (Metrics, error) {
	n := o.number("workers", 1)
	began := time.Now()
	f, err := startFleet(ctx, s, n, payload(small))
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	m := Metrics{"start.rate": float64(n) / time.Since(began).Seconds()}
	times, err := f.random(ctx, o.duration())
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	m["p50"], m["p99"] = float64(Quantile(times, 0.50)), float64(Quantile(times, 0.99))
	m["parent.memory"] = float64(state().Memory)
	began = time.Now()
	err = f.close()
	m["shutdown"] = float64(time.Since(began))
	return m, err
}

// random calls one worker after the other, each chosen at random, and returns
// how long each call took, ascending. The first quarter of the time warms up.
func (f *fleet) random(ctx context.Context, d time.Duration) ([]time.Duration, error) {
	var times []time.Duration
	data := payload(small)
	first := time.Now()
	for began := first; began.Sub(first) < d+d/4; {
		c := f.callers[rand.IntN(len(f.callers))]
		if _, err := c.Echo(ctx, data); err != nil {
			return nil, err
		}
		ended := time.Now()
		if began.Sub(first) >= d/4 {
			times = append(times, ended.Sub(began))
		}
		began = ended
	}
	slices.Sort(times)
	return times, nil
}
