package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/client"
)

// runCheck is the command check.
func runCheck(ctx context.Context, args []string, stdout io.Writer, stderr *os.File) error {
	o, err := parseCheck(args, stdout)
	if err != nil {
		return err
	}
	d := newDisplay(stderr)
	c, err := newChecker(ctx, o, d)
	if err != nil {
		return err
	}
	defer c.crew.close(ctx)
	report := &reporter{out: stdout, json: o.json}
	if o.watch {
		return c.watch(ctx, report)
	}
	return c.repeat(ctx, o.repeat, report)
}

func newChecker(ctx context.Context, o *checkOptions, d *display) (*checker, error) {
	path, err := findWorker(ctx, o.worker, d.Printf)
	if err != nil {
		return nil, err
	}
	workers, err := newCrew(crewConfig{
		dialer:  &client.Dialer{Timeout: perMessage(o.timeout), Logger: newLogger(d, o.verbose)},
		command: o.workerCommand(path),
		size:    o.workers,
		group:   o.groupName(),
		tell:    d.Printf,
	})
	if err != nil {
		return nil, err
	}
	return &checker{request: o.plan(), crew: workers, display: d, verbose: o.verbose}, nil
}

// perMessage returns the option -timeout as a Dialer has it.
func perMessage(timeout time.Duration) time.Duration {
	if timeout == 0 {
		return -1
	}
	return timeout
}

// newLogger returns the logger that takes what workers print and log. Without verbose only warnings are shown.
func newLogger(d *display, verbose bool) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(d)
	log.SetFormatter(&logrus.TextFormatter{DisableColors: true})
	log.SetLevel(logrus.WarnLevel)
	if verbose {
		log.SetLevel(logrus.InfoLevel)
	}
	return log
}

// repeat checks n times and reports each. The outcome is that of the last.
func (c *checker) repeat(ctx context.Context, n int, report *reporter) error {
	var rounds []*result
	for range n {
		r, err := c.round(ctx)
		if err != nil {
			return err
		}
		if err := report.report(r); err != nil {
			return err
		}
		c.summarize(r)
		rounds = append(rounds, r)
	}
	if n > 1 {
		c.display.Printf("%s", comparison(rounds))
	}
	return rounds[n-1].outcome()
}

// summarize says of a round what was done, and where the workers came from that did it.
func (c *checker) summarize(r *result) {
	c.display.Printf("%s", r.summary())
	if text := origins(r.arrivals); text != "" {
		c.display.Printf("%s", text)
	}
}

// outcome returns [errFound] if there are diagnostics.
func (r *result) outcome() error {
	if n, _ := r.errors(); n > 0 {
		return errFound
	}
	return nil
}
