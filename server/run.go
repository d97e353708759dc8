package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/internal/failpoint"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// ErrNotWorker means that this process was not started as a worker.
var ErrNotWorker = errors.New("this program is a worker: it is started by another program, with client.Start")

// Main runs the process as a worker with these handlers, and never returns: it
// serves until the owner is gone, a parent asks for the stop, or a lifetime
// ends, and exits with status 0. It exits with status 2 and a message on
// standard error if the process was not started as a worker or can't serve.
func Main(mux *Mux) { (&Server{Mux: mux}).Main() }

// MainIfWorker is [Main] in a process that was started as the worker with this
// name, by [lifecycle.Self], and returns at once in any other. It belongs at
// the top of main in a program that is its own worker.
func MainIfWorker(name string, mux *Mux) {
	if w, err := lifecycle.Current(); err == nil && (w == nil || !w.Self || w.Name != name) {
		return
	}
	Main(mux)
}

// Main is like the function [Main], with this server's settings.
func (s *Server) Main() {
	err := s.Run(context.Background())
	code := 0
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 2
	}
	if w, _ := lifecycle.Current(); w != nil {
		w.Exit(code)
	}
	os.Exit(code)
}

// Run runs the worker that this process was started as. When the worker has to
// leave (because its owner has died, it was asked to stop, or a lifetime has
// ended) the process exits with status 0, within the grace that the parent has
// set, and Run does not return. It returns nil when ctx has ended; what belongs
// to the worker is then removed by [lifecycle.Worker.Exit], or by the parent.
// From a process that is no worker it returns [ErrNotWorker].
//
// Run makes what the program logs with logrus's standard logger, slog's
// default logger and package log arrive as entries in the parent's log, unless
// the program has directed them elsewhere.
func (s *Server) Run(ctx context.Context) error {
	w, err := lifecycle.Current()
	if err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	if w == nil {
		return ErrNotWorker
	}
	if err := s.adopt(w); err != nil {
		return fmt.Errorf("start worker %s: %w", w.Name, err)
	}
	l, err := transport.Listen(w.Socket)
	if err != nil {
		return fmt.Errorf("start worker %s: %w", w.Name, err)
	}
	failpoint.Here(failpoint.Bound)
	s.quit = func(reason string) {
		s.quitting.Store(true)
		s.tasks.Go(func() { w.LeaveBecause(reason) })
	}
	s.init()
	s.Mux.builtin(s)
	ctx, cancel := context.WithCancel(ctx)
	defer s.tasks.Wait()
	defer cancel()
	s.tasks.Go(func() { _ = w.WatchOutput(ctx, s.ring) })
	w.Serving(func(ctx context.Context) { s.leave(ctx, w) })
	if w.SharedName != "" {
		s.tasks.Go(func() { s.retireIfDisplaced(ctx) })
	}
	if w.MaxLifetime > 0 {
		defer time.AfterFunc(w.MaxLifetime, s.expire).Stop()
	}
	_ = s.Serve(ctx, l) // however it ended, the worker leaves now
	close(s.served)
	s.teardown(w.Grace)
	if s.quitting.Load() {
		select {} // the exit is under way, and first says why
	}
	if ctx.Err() == nil {
		w.Exit(0) // a main that returned would cut the exit short
	}
	return nil
}

// retireIfDisplaced retires when clients can't find this worker any more.
func (s *Server) retireIfDisplaced(ctx context.Context) {
	select {
	case <-s.worker.Displaced():
		s.retire(s.worker.DisplacedBecause())
	case <-ctx.Done():
	}
}

// adopt takes over what the parent has decided.
func (s *Server) adopt(w *lifecycle.Worker) error {
	build := s.Build
	if build == "" {
		var err error
		if build, err = lifecycle.OwnBuildID(); err != nil {
			return err
		}
	}
	name := s.Name
	if name == "" {
		name = w.Name
	}
	s.identity = transport.Welcome{Name: name, Build: build, Instance: w.ID, Pid: os.Getpid()}
	s.worker = w
	s.secret = w.Secret
	s.idle = w.IdleTimeout
	if level, err := logrus.ParseLevel(w.LogLevel); err == nil {
		logrus.SetLevel(level)
	}
	directLogs(w.EntryWriter(), logrus.GetLevel())
	return nil
}

// leave is what happens between the reason to leave and the exit. Without an
// owner nobody waits for answers, so the calls are cancelled at once; otherwise
// they may finish. Handlers that are still busy after half of the grace leave
// the other half to the teardown.
//
// If the name can't be had now, its holder finds out itself that the worker is
// leaving.
func (s *Server) leave(ctx context.Context, w *lifecycle.Worker) {
	s.giveUpName("it is leaving")
	drain, cancel := context.WithTimeout(ctx, w.Grace/2)
	defer cancel()
	select {
	case <-w.OwnerGone():
		s.Close()
	default:
		_ = s.Shutdown(drain) // who is not done by then is cut off
	}
	select {
	case <-s.served:
	case <-drain.Done():
	}
	s.teardown(w.Grace / 2)
}

// teardown runs the user's hook once; who comes second waits for it.
func (s *Server) teardown(grace time.Duration) {
	s.tornDown.Do(func() {
		if s.Teardown == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), max(0, grace))
		defer cancel()
		s.Teardown(ctx)
	})
}
