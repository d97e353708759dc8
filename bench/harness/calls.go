package harness

import (
	"context"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"
)

// small is the payload of a call in which the payload does not matter.
const small = 64

// expected is for how many calls in one run there is room from the start. More
// would make the heap greater than that of a program that measures nothing, and
// garbage collections rarer.
const expected = 1 << 15

// unaries are the calls whose latency is measured.
var unaries = []struct {
	name string
	size int
}{{"unary64", small}, {"unary64k", 64 << 10}}

// latency measures echoes by one caller.
func latency(ctx context.Context, s System, o options) (Metrics, error) {
	w, c, err := started(ctx, s)
	if err != nil {
		return nil, err
	}
	defer letGo(w)
	m := make(Metrics)
	for _, u := range unaries {
		r := run{callers: []Caller{c}, payload: payload(u.size), worker: w.Pid()}
		if err := r.measure(ctx, o.number("warmup", 2000), o.duration()); err != nil {
			return nil, err
		}
		r.addTo(m, u.name)
		m[u.name+".allocs"] = float64(r.mallocs) / float64(len(r.times))
	}
	return m, nil
}

// throughput measures echoes by many callers.
func throughput(ctx context.Context, s System, o options) (Metrics, error) {
	w, err := s.Start(ctx)
	if err != nil {
		return nil, err
	}
	defer letGo(w)
	r := run{payload: payload(small), worker: w.Pid()}
	for range o.number("callers", 64) {
		c, err := w.Caller(ctx)
		if err != nil {
			return nil, err
		}
		r.callers = append(r.callers, c)
	}
	if err := r.measure(ctx, o.number("warmup", 2000), o.duration()); err != nil {
		return nil, err
	}
	m := make(Metrics)
	r.addTo(m, "calls")
	m["calls.rate"] = float64(len(r.times)) / r.elapsed.Seconds()
	return m, nil
}

// run is calls by some callers at once and what was measured of them.
type run struct {
	callers []Caller
	payload []byte
	worker  int // its pid

	times   []time.Duration // of each call, ascending
	elapsed time.Duration
	cpu     time.Duration // of both processes
	mallocs uint64        // of this process
}

// measure makes some calls to warm up and then calls for at least d.
func (r *run) measure(ctx context.Context, warmup int, d time.Duration) error {
	perCaller := warmup/len(r.callers) + 1
	err := r.each(func(_ int, c Caller) error {
		for range perCaller {
			if err := checked(ctx, c, r.payload); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	times := make([][]time.Duration, len(r.callers))
	for i := range times {
		times[i] = make([]time.Duration, 0, expected/len(r.callers))
	}
	before := r.used()
	began := time.Now()
	err = r.each(func(i int, c Caller) (err error) {
		times[i], err = r.repeat(ctx, c, began.Add(d), times[i])
		return err
	})
	r.elapsed = time.Since(began)
	after := r.used()
	r.cpu, r.mallocs = after.cpu-before.cpu, after.mallocs-before.mallocs
	r.times = slices.Concat(times...)
	slices.Sort(r.times)
	return err
}

// repeat makes calls until the time has come, and appends how long each took.
func (r *run) repeat(ctx context.Context, c Caller, until time.Time, times []time.Duration) ([]time.Duration, error) {
	for began := time.Now(); began.Before(until); {
		if _, err := c.Echo(ctx, r.payload); err != nil {
			return nil, err
		}
		ended := time.Now()
		times = append(times, ended.Sub(began))
		began = ended
	}
	return times, nil
}

// each runs f once for each caller, all at once, and returns the first error.
func (r *run) each(f func(i int, c Caller) error) error {
	errs := make([]error, len(r.callers))
	var wg sync.WaitGroup
	for i, c := range r.callers {
		wg.Go(func() { errs[i] = f(i, c) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// usage is what calls cost.
type usage struct {
	cpu     time.Duration
	mallocs uint64
}

func (r *run) used() usage {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return usage{cpu: cpuTime(os.Getpid()) + cpuTime(r.worker), mallocs: mem.Mallocs}
}

func (r *run) addTo(m Metrics, name string) {
	m[name+".p50"] = float64(Quantile(r.times, 0.50))
	m[name+".p99"] = float64(Quantile(r.times, 0.99))
	m[name+".cpu"] = float64(r.cpu) / float64(len(r.times))
}
