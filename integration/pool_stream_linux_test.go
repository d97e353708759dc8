package integration

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/transport"
)

var endless = workRequest{N: 1 << 30, For: time.Millisecond}

// streamEnds are ways in which a stream ends. Each reports whether that leaves the
// worker alone.
var streamEnds = map[string]func(t *testing.T, p *testPool) (kept bool){
	"read to its end": func(t *testing.T, p *testPool) bool {
		n := 0
		for _, err := range client.Stream(limited(t), p, feed, workRequest{N: 20}) {
			if err != nil {
				t.Error(err)
			}
			n++
		}
		if n != 20 {
			t.Errorf("%d messages, want 20", n)
		}
		return true
	},
	"left early": func(t *testing.T, p *testPool) bool {
		for _, err := range client.Stream(limited(t), p, feed, endless) {
			if err != nil {
				t.Error(err)
			}
			break
		}
		return true
	},
	"cancelled": func(t *testing.T, p *testPool) bool {
		ctx, cancel := context.WithCancel(limited(t))
		defer cancel()
		var last error
		for _, last = range client.Stream(ctx, p, feed, endless) {
			cancel()
		}
		if !errors.Is(last, context.Canceled) || client.SafeToRetry(last) {
			t.Errorf("got %v", last)
		}
		return true
	},
	"cancelled and not read": func(t *testing.T, p *testPool) bool {
		ctx, cancel := context.WithCancel(limited(t))
		defer cancel()
		if _, err := p.Open(ctx, &client.Request{Method: string(feed), Kind: transport.KindStream, Body: endless}); err != nil {
			t.Error(err)
		}
		return true
	},
	"timed out": func(t *testing.T, p *testPool) bool {
		var last error
		slow := workRequest{N: 2, For: time.Hour}
		for _, last = range client.Stream(limited(t), p, feed, slow, client.Timeout(50*time.Millisecond)) {
		}
		if !errors.Is(last, transport.CodeDeadline) || client.SafeToRetry(last) {
			t.Errorf("got %v", last)
		}
		return true
	},
	"its worker killed": func(t *testing.T, p *testPool) bool {
		var last error
		for reply, err := range client.Stream(limited(t), p, feed, endless, client.Idempotent()) {
			if last = err; err == nil && alive(reply.Pid) {
				kill(t, reply.Pid)
			}
		}
		checkExited(t, last, -1, 9, "")
		if _, retried := errors.AsType[*client.RetryError](last); retried {
			t.Errorf("it was run again: %v", last)
		}
		return false
	},
	"both ways": func(t *testing.T, p *testPool) bool {
		s, err := client.Open(limited(t), p, double)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for i := range 10 {
			if err := s.Send(i); err != nil {
				t.Error(err)
			}
			if got, err := s.Recv(); err != nil || got != 2*i {
				t.Errorf("got %d, %v", got, err)
			}
		}
		if err := s.CloseSend(); err != nil {
			t.Error(err)
		}
		if _, err := s.Recv(); err != io.EOF {
			t.Errorf("got %v, want the end", err)
		}
		return true
	},
}

// A call with messages has its place in the worker until it ends, in whatever way.
// LESSONS 26, 28
func TestPoolStreamGivesItsPlaceBackHoweverItEnds(t *testing.T) {
	t.Parallel()
	for how, read := range streamEnds {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, client.PoolConfig{Min: 1, Max: 1})
			for range 3 {
				p.mustBeReady()
				first := p.mustWork(workRequest{}).Pid
				kept := read(t, p)
				if next := p.mustWork(workRequest{}).Pid; (next == first) != kept {
					t.Errorf("worker %d, and then %d", first, next)
				}
			}
			p.awaitIdle(1)
			if stats := p.Stats(); stats.Running != 0 || stats.Calls != 9 {
				t.Errorf("got %+v, want nine calls that have ended", stats)
			}
		})
	}
}

func TestPoolStreamTakesAPlaceUntilItEnds(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 1, Max: 1})
	p.mustBeReady()
	for range client.Stream(limited(t), p, feed, workRequest{N: 1 << 30, For: time.Millisecond}) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := client.Call(ctx, p, work, workRequest{ID: 1})
		if !errors.Is(err, transport.CodeDeadline) || !client.SafeToRetry(err) {
			t.Errorf("got %v", err)
		}
		break
	}
	p.mustWork(workRequest{ID: 2})
}

// LESSONS 33
func TestPoolKillsAWorkerThatDoesNotEndAStreamThatWasLeft(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 1, Max: 1, CancelGrace: shortGrace})
	first := 0
	for reply := range client.Stream(limited(t), p, feed, workRequest{N: 2, For: time.Hour, Ignore: true}) {
		first = reply.Pid
		break
	}
	if reply := p.mustWork(workRequest{}); reply.Pid == first {
		t.Errorf("answered by the worker %d, which is stuck", first)
	}
	p.checkEnds(client.ReasonHung)
	p.awaitIdle(1)
}
