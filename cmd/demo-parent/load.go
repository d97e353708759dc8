package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// loadOptions is what the command line of load says.
type loadOptions struct {
	url         string
	requests    int
	concurrency int
	workers     int // 0 if it is not said
	width       int
	retry       bool
	timeout     time.Duration
	worker      string
	verbose     bool
}

const loadHelp = `Load has a server as demo-parent serve is one make the same image smaller many times, and prints how many
requests it answers per second, how long they take, and how many it refuses (503). Without -url the servers are
its own, one with a single worker and one with -j of them, which have the requests in turn and are compared. An
interrupt ends it; what there is by then is printed. The exit status is 1 if a request failed in another way than
with 503.`

// parseLoad reads the command line of load. Help goes to stdout, and is [flag.ErrHelp].
func parseLoad(args []string, stdout io.Writer) (*loadOptions, error) {
	var o loadOptions
	f := newFlags("load", "[flags]", loadHelp)
	f.StringVar(&o.url, "url", "", "send the requests to the server at `url`")
	f.IntVar(&o.requests, "n", 200, "send `n` requests to each server")
	f.IntVar(&o.concurrency, "c", 16, "send `n` at a time")
	f.IntVar(&o.workers, "j", 0, fmt.Sprintf("compare one worker with `n`; by default with %d", defaultComparison()))
	f.IntVar(&o.width, "width", 200, "ask for images that are `n` pixels wide")
	f.BoolVar(&o.retry, "retry", false, "send a request that is refused again, after the time that the server says")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "give up when a request takes longer, with all that it was sent again")
	f.StringVar(&o.worker, "worker", "", "the worker's `program`; by default demo-worker is found or built")
	f.BoolVar(&o.verbose, "v", false, "show the events of the pools and what the workers log")
	if err := parseAlone(f, args, stdout); err != nil {
		return nil, err
	}
	return &o, o.validate()
}

// defaultComparison is how many workers one is compared with.
func defaultComparison() int { return max(2, runtime.NumCPU()) }

// validate completes the options and refuses those that make no sense.
func (o *loadOptions) validate() error {
	switch {
	case o.requests < 1:
		return errors.New("load: -n must be at least 1")
	case o.concurrency < 1:
		return errors.New("load: -c must be at least 1")
	case o.workers < 0:
		return errors.New("load: -j must be at least 1")
	case o.width < 1:
		return errors.New("load: -width must be at least 1")
	case o.timeout <= 0:
		return errors.New("load: -timeout must be more than 0")
	case o.url != "" && (o.workers != 0 || o.worker != ""):
		return errors.New("load: -j and -worker are for servers of its own, and exclude -url")
	}
	if u, err := url.Parse(o.url); o.url != "" && (err != nil || u.Host == "") {
		return fmt.Errorf("load: -url %q has to be like http://%s", o.url, defaultAddr)
	}
	o.workers = cmp.Or(o.workers, defaultComparison())
	return nil
}

// runLoad is the command load.
func runLoad(ctx context.Context, args []string, stdout io.Writer, stderr *os.File) error {
	o, err := parseLoad(args, stdout)
	if err != nil {
		return err
	}
	rows, err := o.measure(ctx, newDisplay(stderr))
	if len(rows) > 0 {
		err = errors.Join(err, printLoad(rows, stdout))
	}
	if err == nil {
		err = reportFailures(rows, stderr)
	}
	return err
}

// measure returns what each server has done. Next to an error it returns what is known by then.
func (o *loadOptions) measure(ctx context.Context, d *display) ([]*tally, error) {
	if o.url != "" {
		return o.measureAt(ctx, d, o.url)
	}
	var urls []string
	for _, workers := range slices.Compact([]int{1, o.workers}) {
		s, err := o.startOwn(ctx, workers, d)
		if err != nil {
			return nil, err
		}
		defer func() {
			if err := s.close(); err != nil {
				d.Printf("%v", err)
			}
		}()
		urls = append(urls, s.url())
	}
	return o.measureAt(ctx, d, urls...)
}

// startOwn starts a server and returns when all its workers are ready.
func (o *loadOptions) startOwn(ctx context.Context, workers int, d *display) (*service, error) {
	s, err := startService(ctx, serveOptions{
		addr: "127.0.0.1:0", workers: workers, queue: defaultQueue, timeout: defaultTimeout, worker: o.worker, verbose: o.verbose,
	}, d)
	if err != nil {
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	if err := s.pool.Ready(ready); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// rounds is in how many parts the requests are sent, to one server after the other each time: what else the machine has
// to do meanwhile slows all of them. A part is long enough for as many requests to be under way as is wanted.
func (o *loadOptions) rounds() int {
	const most = 5
	return max(1, min(most, o.requests/o.concurrency/2))
}

// measureAt measures the servers at addresses, in turn.
func (o *loadOptions) measureAt(ctx context.Context, d *display, urls ...string) ([]*tally, error) {
	var loaders []*loader
	var rows []*tally
	for _, address := range urls {
		l, err := newLoader(ctx, address, o)
		if err != nil {
			return nil, err
		}
		defer l.close()
		loaders = append(loaders, l)
		rows = append(rows, &tally{workers: l.workers(ctx)})
	}
	d.Printf("sending %s with an image of %d KiB, %d at a time",
		count(o.requests, "request"), len(loaders[0].image)>>10, o.concurrency)
	for round, rounds := 0, o.rounds(); round < rounds; round++ {
		n := o.requests*(round+1)/rounds - o.requests*round/rounds
		for i, l := range loaders {
			l.run(ctx, n, o.concurrency, rows[i])
		}
	}
	for _, t := range rows {
		t.sort()
	}
	return rows, ctx.Err()
}

// printLoad prints a line for each server, and how the last one compares with the first.
func printLoad(rows []*tally, stdout io.Writer) error {
	var text bytes.Buffer
	fmt.Fprintln(&text, "WORKERS\tOK\t503\tFAILED\tREQ/S\tP50\tP99\t")
	for _, t := range rows {
		fmt.Fprintf(&text, "%s\t%d\t%d\t%d\t%.1f\t%s\t%s\t\n", known(t.workers), len(t.latencies), t.refused, t.failed,
			t.rate(), short(t.quantile(0.5)), short(t.quantile(0.99)))
	}
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	if _, err := text.WriteTo(table); err != nil {
		return err
	}
	if err := table.Flush(); err != nil {
		return err
	}
	first, last := rows[0], rows[len(rows)-1]
	if len(rows) == 1 || first.rate() == 0 {
		return nil
	}
	_, err := fmt.Fprintf(stdout, "%d workers answer %.2f times as many requests per second as %d does (%s)\n",
		last.workers, last.rate()/first.rate(), first.workers, count(runtime.NumCPU(), "processor"))
	return err
}

// known returns a number as text, "?" if it is not known.
func known(n int) string {
	if n == 0 {
		return "?"
	}
	return fmt.Sprint(n)
}

// reportFailures says how requests failed, if any did.
func reportFailures(rows []*tally, stderr io.Writer) error {
	for _, t := range rows {
		if t.failed > 0 {
			_, _ = fmt.Fprintf(stderr, "demo-parent: %s failed, the first so: %v\n", count(t.failed, "request"), t.failure)
			return errFound
		}
	}
	return nil
}
