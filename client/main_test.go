package client_test

import (
	"context"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/detached-workers/unref/server"
	"github.com/detached-workers/unref/transport"
)

// The contract of the examples' worker.
const (
	Square   transport.Method[int, int]       = "square"
	Count    transport.StreamMethod[int, int] = "count"
	Double   transport.BidiMethod[int, int]   = "double"
	Work     transport.Method[int, int]       = "work" // emits Progress
	Progress transport.Event[int]             = "progress"

	Forever transport.Method[int, int] = "forever" // until its context ends
)

// TestMain makes the test binary its own worker.
func TestMain(m *testing.M) {
	var mux server.Mux
	server.Handle(&mux, Square, func(_ context.Context, n int) (int, error) { return n * n, nil })
	server.Handle(&mux, Forever, func(ctx context.Context, _ int) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	})
	server.HandleStream(&mux, Count, func(_ context.Context, n int, send func(int) error) error {
		for i := range n {
			if err := send(i); err != nil {
				return err
			}
		}
		return nil
	})
	server.HandleBidi(&mux, Double, func(_ context.Context, s *server.BidiStream[int, int]) error {
		for {
			n, err := s.Recv()
			if err != nil {
				return nil
			}
			if err := s.Send(2 * n); err != nil {
				return err
			}
		}
	})
	server.Handle(&mux, Work, func(_ context.Context, n int) (int, error) {
		for i := range n {
			if err := server.Emit(&mux, Progress, i+1); err != nil {
				return i, err
			}
		}
		return n, nil
	})
	server.MainIfWorker("example", &mux)
	dir, err := os.MkdirTemp("", "unref-client-")
	if err != nil {
		panic(err)
	}
	os.Setenv("UNREF_RUNTIME_DIR", dir)
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}
