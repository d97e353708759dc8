package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// A pool has workers for as many calls at once as it is told.
func ExampleNewPool() {
	ctx := context.Background()
	p, err := client.NewPool(client.PoolConfig{
		Command: lifecycle.Self("example"),
		Min:     2,
		Max:     4,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	var wg sync.WaitGroup
	squares := make([]int, 10)
	for i := range squares {
		wg.Go(func() {
			var err error
			if squares[i], err = client.Call(ctx, p, Square, i); err != nil {
				log.Print(err)
			}
		})
	}
	wg.Wait()
	fmt.Println(squares)
	// Output: [0 1 4 9 16 25 36 49 64 81]
}

// Which errors a call on a pool can come to, and what to do about each.
func ExamplePool_Invoke() {
	ctx := context.Background()
	p, err := client.NewPool(client.PoolConfig{
		Command:      lifecycle.Self("example"),
		Max:          2,
		MaxQueue:     100,
		QueueTimeout: 5 * time.Second,
		Dialer:       &client.Dialer{Timeout: 10 * time.Second},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	n, err := client.Call(ctx, p, Square, 12, client.Idempotent(), client.Priority(1))
	switch {
	case err == nil:
		fmt.Println(n)
	case errors.Is(err, client.ErrQueueFull), errors.Is(err, client.ErrQueueTimeout):
		fmt.Println("busy, try again later")
	case errors.Is(err, context.DeadlineExceeded):
		fmt.Println("the worker took too long")
	case errors.Is(err, client.ErrWorkerExited):
		fmt.Println("no worker has done it:", err)
	default:
		fmt.Println(err)
	}
	// Output: 144
}

// A lease is one worker for several calls that belong together.
func ExamplePool_With() {
	ctx := context.Background()
	p, err := client.NewPool(client.PoolConfig{Command: lifecycle.Self("example"), Max: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	err = p.With(ctx, func(l *client.Lease) error {
		nine, err := client.Call(ctx, l, Square, 3)
		if err != nil {
			return err
		}
		sum, err := client.Call(ctx, l, Square, nine) // on the same worker
		fmt.Println(sum)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: 81
}

// Each worker gets settings of its own by the number of its slot.
func ExamplePoolConfig_prepare() {
	ctx := context.Background()
	p, err := client.NewPool(client.PoolConfig{
		Command: lifecycle.Self("example"),
		Min:     2,
		Max:     2,
		Prepare: func(slot int, cmd *lifecycle.Command) error {
			cmd.Env = append(os.Environ(), fmt.Sprintf("DEVICE=%d", slot))
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	if err := p.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	for _, a := range client.Broadcast(ctx, p, Square, 5) {
		fmt.Println(a.Slot, a.Reply, a.Err)
	}
	// Output:
	// 0 25 <nil>
	// 1 25 <nil>
}

// The workers of another configuration take over without a call being lost.
func ExamplePool_Reload() {
	ctx := context.Background()
	p, err := client.NewPool(client.PoolConfig{Command: lifecycle.Self("example"), Min: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	changed := lifecycle.Self("example")
	changed.Config = map[string]string{"mode": "fast"}
	if err := p.Reload(changed); err != nil {
		log.Fatal(err)
	}
	if err := p.Ready(ctx); err != nil { // if it matters when the last old one is out of use
		log.Fatal(err)
	}
	n, err := client.Call(ctx, p, Square, 4)
	fmt.Println(n, err)
	// Output: 16 <nil>
}

// Events tell what happens to the workers and why.
func ExamplePool_Events() {
	ctx := context.Background()
	p, err := client.NewPool(client.PoolConfig{Command: lifecycle.Self("example"), Min: 1})
	if err != nil {
		log.Fatal(err)
	}
	var watch sync.WaitGroup
	watch.Go(func() {
		for e := range p.Events(ctx) {
			switch e.Kind {
			case client.WorkerEnded:
				fmt.Println("worker", e.Slot, e.Kind, e.Reason)
			default:
				fmt.Println(e.Kind)
			}
		}
	})
	if err := p.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	p.Close()
	watch.Wait()
	// Output:
	// starting
	// ready
	// closing
	// leaving
	// worker 0 ended closed
	// closed
}
