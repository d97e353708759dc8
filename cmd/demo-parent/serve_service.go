package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// The limits of the service besides those that its options name.
const (
	headerPatience = 5 * time.Second  // until a client has sent the header of a request
	bodyPatience   = 30 * time.Second // and the body
	queuePatience  = 10 * time.Second // how long a request waits for a worker
	answerPatience = 30 * time.Second // until a client has taken the answer
	idlePatience   = 2 * time.Minute  // for the next request on a connection
	readyPatience  = time.Minute      // for the workers, after a reload
	closePatience  = 10 * time.Second // for requests, when the service ends
	maxHeader      = 16 << 10         // bytes
	maxTries       = 3                // runs of a request, on as many workers
)

// service is an HTTP server with a pool of workers behind it.
type service struct {
	options  serveOptions
	display  *display
	listener net.Listener
	pool     *client.Pool
	server   *http.Server
	tasks    sync.WaitGroup
	failed   chan error // capacity 1: why serving has ended, if nobody asked for that
}

// startService returns a service that listens, and has a worker. If it returns an error nothing is left. ctx bounds the
// start only.
func startService(ctx context.Context, o serveOptions, d *display) (*service, error) {
	s := &service{options: o, display: d, failed: make(chan error, 1)}
	command, err := s.command(ctx)
	if err != nil {
		return nil, err
	}
	if s.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", o.addr); err != nil {
		return nil, err
	}
	if s.pool, err = client.NewPool(s.poolConfig(command)); err != nil {
		s.listener.Close()
		return nil, err
	}
	if err := firstWorker(ctx, s.pool); err != nil {
		s.listener.Close()
		return nil, errors.Join(err, s.pool.Kill())
	}
	s.serve()
	return s, nil
}

// command describes the workers. Each has one processor, since it does one thing at a time and there are as many of them
// as are wanted.
func (s *service) command(ctx context.Context) (*lifecycle.Command, error) {
	path, err := findWorker(ctx, s.options.worker, s.display.Printf)
	if err != nil {
		return nil, err
	}
	return &lifecycle.Command{Path: path, Env: append(os.Environ(), "GOMAXPROCS=1")}, nil
}

// poolConfig has all workers started at once, and none stopped for having nothing to do: a request that comes after a
// quiet time is done as fast as any other.
func (s *service) poolConfig(command *lifecycle.Command) client.PoolConfig {
	queue := s.options.queue
	if queue == 0 {
		queue = -1 // none, in the words of the pool
	}
	return client.PoolConfig{
		Command:      command,
		Dialer:       &client.Dialer{Timeout: perMessage(s.options.timeout), Logger: newLogger(s.display, s.options.verbose)},
		Min:          s.options.workers,
		Max:          s.options.workers,
		MaxQueue:     queue,
		QueueTimeout: queuePatience,
		MaxTries:     maxTries,
		CloseTimeout: closePatience / 2, // what is left by then was given up
	}
}

// firstWorker returns when a worker is ready, or the reason when one can't be started.
func firstWorker(ctx context.Context, pool *client.Pool) error {
	for e := range pool.Events(ctx) {
		switch e.Kind {
		case client.WorkerReady:
			return nil
		case client.WorkerStartFailed:
			return e.Err
		}
	}
	return context.Cause(ctx)
}

// serve begins to serve.
func (s *service) serve() {
	ledger := newLedger(s.display, s.options.verbose)
	s.tasks.Go(func() { ledger.follow(s.pool) }) // ends with the pool
	s.server = &http.Server{
		Handler:           newSite(s.pool, ledger, s.options, newLogger(s.display, s.options.verbose)),
		ReadHeaderTimeout: headerPatience,
		ReadTimeout:       bodyPatience,
		WriteTimeout:      s.options.writeTimeout(),
		IdleTimeout:       idlePatience,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(s.display, "http: ", 0),
	}
	s.tasks.Go(func() {
		if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve: %w", err)
		}
	})
}

// writeTimeout is how long it takes at most from the header of a request to the end of the answer, 0 if that has no limit:
// that of a server has to bound what it does in between as well.
func (o *serveOptions) writeTimeout() time.Duration {
	if o.timeout == 0 {
		return 0
	}
	return bodyPatience + queuePatience + maxTries*o.timeout + answerPatience
}

// url is where the service can be found.
func (s *service) url() string { return "http://" + s.listener.Addr().String() }

// reload has all workers replaced by ones of the program as it is now.
func (s *service) reload(ctx context.Context) {
	s.display.Printf("reloading the workers")
	switch err := s.replace(ctx); {
	case ctx.Err() != nil: // and nobody waits for the outcome
	case err != nil:
		s.display.Printf("%v; the old workers go on", err)
	default:
		s.display.Printf("reloaded")
	}
}

// replace returns when new workers have taken over, or won't.
func (s *service) replace(ctx context.Context) error {
	command, err := s.command(ctx)
	if err != nil {
		return err
	}
	if err := s.pool.Reload(command); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	return s.pool.Ready(ctx)
}

// close lets the requests that there are finish, ends the workers, and returns when nothing is left. The error says what
// was cut off, and which workers had to be forced.
func (s *service) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("requests were cut off after %v", closePatience)
		_ = s.server.Close() // the listener is closed already
	}
	err = errors.Join(err, s.pool.Close())
	s.tasks.Wait()
	return err
}
