package main

import (
	"context"
	"errors"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/bep/execrpc"

	"github.com/detached-workers/unref/bench/harness"
)

const (
	// chunk is the size of a push's messages.
	chunk = 256 << 10

	// inFlight is how many of a push's messages are under way at once.
	inFlight = 4

	// timeLimit is of each call, for all of them, because execrpc does not take
	// a context.
	timeLimit = 5 * time.Minute
)

type worker struct {
	client *execrpc.ClientRaw
	pid    func() int
}

func start(context.Context) (harness.Worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	client, err := execrpc.StartClientRaw(execrpc.ClientRawOptions{
		Version: 1,
		Cmd:     self,
		Args:    []string{"worker"},
		Timeout: timeLimit,
	})
	if err != nil {
		return nil, err
	}
	return worker{client: client, pid: sync.OnceValue(func() int { return askPid(client) })}, nil
}

func (w worker) Caller(context.Context) (harness.Caller, error) { return caller{w.client}, nil }

// Pid asks the worker, because execrpc keeps the process to itself.
func (w worker) Pid() int { return w.pid() }

func (w worker) Address() string { return "" }

func (w worker) Close() error { return w.client.Close() }

// askPid returns 0 if there is no answer.
func askPid(client *execrpc.ClientRaw) int {
	body, err := call(client, statusPid, nil)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(string(body)) // 0 if it is none
	return pid
}

// call makes one call and returns the body of its only message.
func call(client *execrpc.ClientRaw, status uint16, body []byte) ([]byte, error) {
	messages := make(chan execrpc.Message, 1) // Execute sends, and closes it
	err := client.Execute(func(m *execrpc.Message) {
		m.Header.Status = status
		m.Body = body
	}, messages)
	if err != nil {
		return nil, err
	}
	return (<-messages).Body, nil
}

type caller struct{ client *execrpc.ClientRaw }

func (c caller) Echo(_ context.Context, payload []byte) ([]byte, error) {
	return call(c.client, statusEcho, payload)
}

// Push sends messages from several goroutines, because a call is over with its
// reply and a request is one message.
func (c caller) Push(_ context.Context, size int) error {
	chunks := make(chan []byte, inFlight)
	errs := make([]error, inFlight)
	var wg sync.WaitGroup
	for i := range inFlight {
		wg.Go(func() { errs[i] = sink(c.client, chunks) })
	}
	for b := range harness.Chunks(size, chunk) {
		chunks <- b
	}
	close(chunks)
	wg.Wait()
	return errors.Join(errs...)
}

// sink sends chunks. It takes all that come, also after a failure, so that
// nobody waits for it.
func sink(client *execrpc.ClientRaw, chunks <-chan []byte) error {
	var failed error
	for b := range chunks {
		if failed == nil {
			failed = confirmed(client, b)
		}
	}
	return failed
}

func confirmed(client *execrpc.ClientRaw, chunk []byte) error {
	receipt, err := call(client, statusSink, chunk)
	if err != nil {
		return err
	}
	return harness.ReceiptOf(chunk).Check(string(receipt))
}
