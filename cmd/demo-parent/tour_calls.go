package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/cmd/demo-worker/api"
	"github.com/detached-workers/unref/transport"
)

// patience is how long the tour waits for what must happen, on however busy a machine.
const patience = 20 * time.Second

func (t *tour) visitStart(ctx context.Context) error {
	began := time.Now()
	w, err := t.start(ctx)
	if err != nil {
		return err
	}
	t.worker = w
	t.did("start %s", t.command.Path)
	t.saw("pid %d answers after %s; its socket is %s", w.Pid(), short(time.Since(began)), w.Process().Socket())
	if own, known := ownSession(w.Pid()); known {
		if !own {
			return errors.New("the worker is in our session")
		}
		t.saw("it is in a session of its own")
	}
	if shared, known := sharedFiles(w.Pid()); known {
		if len(shared) > 0 {
			return fmt.Errorf("the worker holds our %s", strings.Join(shared, ", "))
		}
		t.saw("it holds none of our standard input, output and error")
	}
	return nil
}

func (t *tour) visitCall(ctx context.Context) error {
	began := time.Now()
	square, err := client.Call(ctx, t.worker, api.Square, api.SquareRequest{N: 12})
	if err != nil {
		return err
	}
	t.did("call square with 12")
	t.saw("%d after %s", square.N, short(time.Since(began)))
	if square.N != 144 {
		return errors.New("12 squared is 144")
	}
	data := bytes.Repeat([]byte("unref"), 1<<20/5)
	began = time.Now()
	echo, err := client.Call(ctx, t.worker, api.Echo, api.EchoRequest{Data: data})
	if err != nil {
		return err
	}
	t.did("call echo with %d bytes", len(data))
	t.saw("%d bytes after %s", len(echo.Data), short(time.Since(began)))
	if !bytes.Equal(echo.Data, data) {
		return errors.New("the bytes that came back are not those that were sent")
	}
	_, err = client.Call(ctx, t.worker, transport.Method[int, int]("cube"), 3)
	t.did("call a method that there is not")
	return t.expect(err, transport.CodeUnknownMethod)
}

// expect says what a call came to, and returns an error if that is not the wanted one.
func (t *tour) expect(err, wanted error) error {
	t.saw("%v", err)
	if !errors.Is(err, wanted) {
		return fmt.Errorf("this should have been the error %q", wanted)
	}
	return nil
}

func (t *tour) visitStream(ctx context.Context) error {
	began, n := time.Now(), 0
	for msg, err := range client.Stream(ctx, t.worker, api.Count, api.CountRequest{N: 1000, Size: 64}) {
		if err != nil {
			return err
		}
		if msg.I != n {
			return fmt.Errorf("message %d came in place of %d", msg.I, n)
		}
		n++
	}
	t.did("stream 1000 messages")
	t.saw("%d messages in order after %s", n, short(time.Since(began)))
	if n != 1000 {
		return errors.New("some are missing")
	}
	if err := t.leaveLoop(ctx); err != nil {
		return err
	}
	return t.sum(ctx)
}

// leaveLoop ends an endless stream by leaving the loop.
func (t *tour) leaveLoop(ctx context.Context) error {
	began := time.Now()
	for msg, err := range client.Stream(ctx, t.worker, api.Count, api.CountRequest{N: 1 << 40}) {
		if err != nil {
			return err
		}
		if msg.I == 9 {
			break
		}
	}
	left := time.Since(began)
	t.did("leave the loop over an endless stream after 10 messages")
	return t.answers(ctx, fmt.Sprintf("left after %s; ", short(left)))
}

// answers checks that the worker lives and serves.
func (t *tour) answers(ctx context.Context, before string) error {
	began := time.Now()
	reply, err := client.Call(ctx, t.worker, api.Square, api.SquareRequest{N: 3})
	if err != nil {
		return err
	}
	t.saw("%spid %d answers the next call after %s", before, t.worker.Pid(), short(time.Since(began)))
	if reply.N != 9 {
		return fmt.Errorf("the answer is that of another call: %d", reply.N)
	}
	return nil
}

// sum has both sides send.
func (t *tour) sum(ctx context.Context) error {
	s, err := client.Open(ctx, t.worker, api.Sum)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // it only cancels
	var sums []int64
	for n := range int64(4) {
		if err := s.Send(api.SumRequest{N: n}); err != nil {
			return err
		}
		reply, err := s.Recv()
		if err != nil {
			return err
		}
		sums = append(sums, reply.Sum)
	}
	t.did("send 0, 1, 2, 3 to be summed up as they come")
	t.saw("%d", sums)
	if fmt.Sprint(sums) != "[0 1 3 6]" {
		return errors.New("the sums are 0, 1, 3, 6")
	}
	return nil
}

func (t *tour) visitOutput(ctx context.Context) error {
	req := api.PrintRequest{Stdout: "a plain line on stdout\n", Stderr: "a plain line on stderr\n", Logrus: "a log entry", Level: "warn"}
	if _, err := client.Call(ctx, t.worker, api.Print, req); err != nil {
		return err
	}
	t.did("have the worker print two lines and log an entry")
	for _, text := range []string{"on stdout", "on stderr", "a log entry"} {
		line, err := t.awaitLine(ctx, text)
		if err != nil {
			return err
		}
		t.saw("logged here: %s", line)
	}
	return nil
}

// awaitLine returns the line with a text that a worker has printed. It can arrive later than the answer to a call.
func (t *tour) awaitLine(ctx context.Context, text string) (string, error) {
	var line string
	if !await(ctx, func() bool { line = t.logged.line(text); return line != "" }) {
		return "", fmt.Errorf("%q did not arrive within %v", text, patience)
	}
	return line, nil
}

// await waits until ok, and returns whether it was in time.
func await(ctx context.Context, ok func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
	return true
}

func (t *tour) visitTimeout(ctx context.Context) error {
	const limit = 200 * time.Millisecond
	began := time.Now()
	_, err := client.Call(ctx, t.worker, api.Sleep, api.SleepRequest{Duration: time.Hour}, client.Timeout(limit))
	took := time.Since(began)
	t.did("call sleep for an hour with a timeout of %v", limit)
	if err := t.expect(err, context.DeadlineExceeded); err != nil {
		return err
	}
	if took < limit || took > patience {
		return fmt.Errorf("that took %v", took)
	}
	return t.answers(ctx, "")
}

func (t *tour) visitPanic(ctx context.Context) error {
	_, err := client.Call(ctx, t.worker, api.Crash, api.CrashRequest{Kind: api.CrashPanic, Message: "oh no"})
	t.did("call a handler that panics")
	if err := t.expect(err, transport.CodePanic); err != nil {
		return err
	}
	e, ok := errors.AsType[*transport.Error](err)
	if !ok || !strings.Contains(e.Stack, "crashNow") {
		return errors.New("the error has not the stack of the panic")
	}
	t.saw("the error has the stack, with the line that panicked")
	return t.answers(ctx, "")
}
