package unrefsystem

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// chunk is the size of a push's messages: larger ones gain nothing more.
const chunk = 512 << 10

type worker[T any] struct {
	*client.Worker
	form Form[T]
}

func (f Form[T]) start(ctx context.Context) (harness.Worker, error) {
	d := client.Dialer{MaxMessage: maxMessage}
	w, err := d.Start(ctx, lifecycle.Self(name))
	if err != nil {
		return nil, err
	}
	return worker[T]{w, f}, nil
}

// sharedIdle is how long a shared worker outlives the section that uses it.
const sharedIdle = 2 * time.Second

// attach finds the shared worker of that name, or starts it.
func (f Form[T]) attach(ctx context.Context, shared string) (harness.Worker, error) {
	d := client.Dialer{MaxMessage: maxMessage}
	cmd := lifecycle.Self(name)
	cmd.IdleTimeout = sharedIdle
	w, err := d.Attach(ctx, shared, cmd)
	if err != nil {
		return nil, err
	}
	return worker[T]{w, f}, nil
}

func (w worker[T]) Caller(context.Context) (harness.Caller, error) { return caller[T](w), nil }

// Address is a name for a shared worker of this process's section.
func (w worker[T]) Address() string { return fmt.Sprintf("bench-%d", os.Getpid()) }

type caller[T any] worker[T]

func (c caller[T]) Echo(ctx context.Context, payload []byte) ([]byte, error) {
	reply, err := client.Call(ctx, c.Worker, c.form.echoMethod(), c.form.Wrap(payload))
	return c.form.Unwrap(reply), err
}

func (c caller[T]) Push(ctx context.Context, size int) error {
	s, err := client.Open(ctx, c.Worker, pushMethod)
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
