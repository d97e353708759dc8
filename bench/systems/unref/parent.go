package main

import (
	"context"
	"io"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// chunk is the size of a push's messages: larger ones gain nothing more.
const chunk = 512 << 10

type worker struct{ *client.Worker }

func start(ctx context.Context) (harness.Worker, error) {
	d := client.Dialer{MaxMessage: maxMessage}
	w, err := d.Start(ctx, lifecycle.Self(name))
	if err != nil {
		return nil, err
	}
	return worker{w}, nil
}

func (w worker) Caller(context.Context) (harness.Caller, error) { return caller{w.Worker}, nil }

func (w worker) Address() string {
	p := w.Process()
	return address{Socket: p.Socket(), Secret: p.Secret(), Instance: p.ID()}.String()
}

type caller struct{ w *client.Worker }

func (c caller) Echo(ctx context.Context, payload []byte) ([]byte, error) {
	return client.Call(ctx, c.w, echoMethod, payload)
}

func (c caller) Push(ctx context.Context, size int) error {
	s, err := client.Open(ctx, c.w, pushMethod)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // only an early return has something to cancel
	var receipt harness.Receipt
	for b := range harness.Chunks(size, chunk) {
		receipt.Add(b)
		if err := s.Send(b); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	confirmed, err := s.Recv()
	if err != nil {
		return err
	}
	if _, err := s.Recv(); err != io.EOF { // a stream that has been read to its end is used again
		return err
	}
	return receipt.Check(confirmed)
}
