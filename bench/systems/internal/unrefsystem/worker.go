package unrefsystem

import (
	"context"
	"errors"
	"io"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/server"
	"github.com/detached-workers/unref/transport"
)

// serve is the worker, and never returns.
func (f Form[T]) serve() {
	var mux server.Mux
	server.Handle(&mux, f.echoMethod(), f.echo)
	server.HandleBidi(&mux, pushMethod, sink)
	stop := harness.Profile("worker")
	s := server.Server{Mux: &mux, MaxMessage: maxMessage, Teardown: func(context.Context) { stop() }}
	s.Main()
}

func (f Form[T]) echo(_ context.Context, request T) (T, error) {
	return f.Wrap(harness.Echo(f.Unwrap(request))), nil
}

// sink confirms what comes.
func sink(_ context.Context, stream *server.BidiStream[transport.Chunk, string]) error {
	var receipt harness.Receipt
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.Send(receipt.String())
		}
		if err != nil {
			return err
		}
		receipt.Add(chunk)
	}
}
