package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// serveOptions is what the command line of serve says.
type serveOptions struct {
	addr    string
	workers int
	queue   int
	timeout time.Duration
	worker  string
	verbose bool
}

// The settings of a server that nobody gives others.
const (
	defaultAddr    = "127.0.0.1:8080"
	defaultQueue   = 64
	defaultTimeout = 30 * time.Second
)

const serveHelp = `Serve is a long-lived parent: an HTTP server that has images made smaller by a pool of workers. It prints its
address when it listens.

	POST /thumbnail?width=200    the image in the body (PNG, JPEG or GIF), made to fit; height= and
	                             format=png or jpeg are understood as well
	GET  /sample.png             an image to try that with; width= and height= are understood
	GET  /                       what the pool does, for people
	GET  /status                 the same as JSON
	GET  /healthz                200 if all workers are ready, else 503 and why

For example:

	curl -o sample.png localhost:8080/sample.png
	curl --data-binary @sample.png -o small.png 'localhost:8080/thumbnail?width=200'

A request whose worker dies is given to another one. When the queue is full the answer is 503 with Retry-After,
when a worker takes too long 504, and when worker after worker dies of a request 502. An interrupt or SIGTERM
ends the server after the requests that it has, within 10 s, with status 0; a second one ends it at once. SIGHUP
replaces the workers, by ones of a program that has changed for instance, without failing a request.`

// parseServe reads the command line of serve. Help goes to stdout, and is [flag.ErrHelp].
func parseServe(args []string, stdout io.Writer) (*serveOptions, error) {
	var o serveOptions
	f := newFlags("serve", "[flags]", serveHelp)
	f.StringVar(&o.addr, "addr", defaultAddr, "listen on `host:port`; port 0 means any that is free")
	f.IntVar(&o.workers, "j", runtime.NumCPU(), "have `n` workers, each of which does one request at a time")
	f.IntVar(&o.queue, "queue", defaultQueue, "let `n` requests wait for a worker; 0 means none")
	f.DurationVar(&o.timeout, "timeout", defaultTimeout, "give up when a worker takes longer for a request; 0 means never")
	f.StringVar(&o.worker, "worker", "", "the worker's `program`; by default demo-worker is found or built")
	f.BoolVar(&o.verbose, "v", false, "show the events of the pool and what the workers log")
	if err := parseAlone(f, args, stdout); err != nil {
		return nil, err
	}
	return &o, o.validate()
}

func (o *serveOptions) validate() error {
	switch {
	case o.workers < 1:
		return errors.New("serve: -j must be at least 1")
	case o.queue < 0:
		return errors.New("serve: -queue must not be negative")
	case o.timeout < 0:
		return errors.New("serve: -timeout must not be negative")
	}
	return nil
}

// runServe is the command serve.
func runServe(ctx context.Context, args []string, stdout io.Writer, stderr *os.File) error {
	o, err := parseServe(args, stdout)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	hangups := make(chan os.Signal, 1)
	notifyHangup(hangups)
	defer signal.Stop(hangups)
	s, err := startService(ctx, *o, newDisplay(stderr))
	if ctx.Err() != nil {
		return nil // asked to stop before there was anything
	}
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, "listening on %s\n", s.url()); err != nil {
		return errors.Join(err, s.close())
	}
	return s.run(ctx, hangups)
}

// run returns when the service has ended, because ctx has or by itself. Each hangup has it reload its workers.
func (s *service) run(ctx context.Context, hangups <-chan os.Signal) error {
	for {
		select {
		case <-hangups:
			s.reload(ctx)
		case err := <-s.failed:
			return errors.Join(err, s.close())
		case <-ctx.Done():
			s.display.Printf("stopping")
			if err := s.close(); err != nil {
				s.display.Printf("%v", err)
			}
			s.display.Printf("stopped")
			return nil
		}
	}
}
