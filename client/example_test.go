package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// A program that is its own worker starts it, calls it and stops it.
func ExampleStart() {
	ctx := context.Background()
	w, err := client.Start(ctx, lifecycle.Self("example"))
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()

	nine, err := client.Call(ctx, w, Square, 3)
	fmt.Println(nine, err)
	// Output: 9 <nil>
}

// Leaving the loop early would cancel the stream on the worker.
func ExampleStream() {
	ctx := context.Background()
	w, err := client.Start(ctx, lifecycle.Self("example"))
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()

	for n, err := range client.Stream(ctx, w, Count, 3) {
		fmt.Println(n, err)
	}
	// Output:
	// 0 <nil>
	// 1 <nil>
	// 2 <nil>
}

// The worker has taken the work when Notify returns, and tells how far it is.
func ExampleSubscribe() {
	ctx := context.Background()
	w, err := client.Start(ctx, lifecycle.Self("example"))
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()

	events, err := client.Subscribe(ctx, w, Progress) // from here on nothing is missed
	if err != nil {
		log.Fatal(err)
	}
	if err := client.Notify(ctx, w, Work, 3); err != nil {
		log.Fatal(err)
	}
	for e, err := range events {
		fmt.Println(e.Worker, e.Value, e.Missed, err)
		if e.Value == 3 {
			break // which ends the subscription
		}
	}
	// Output:
	// example 1 0 <nil>
	// example 2 0 <nil>
	// example 3 0 <nil>
}

func ExampleOpen() {
	ctx := context.Background()
	w, err := client.Start(ctx, lifecycle.Self("example"))
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()

	s, err := client.Open(ctx, w, Double)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	for _, n := range []int{1, 20} {
		if err := s.Send(n); err != nil {
			log.Fatal(err)
		}
		doubled, err := s.Recv()
		fmt.Println(doubled, err)
	}
	// Output:
	// 2 <nil>
	// 40 <nil>
}

// A Dialer has the settings. What went wrong with a call is a matter of
// errors.Is; whether to make it again, of SafeToRetry.
func ExampleDialer() {
	ctx := context.Background()
	d := &client.Dialer{
		Timeout:       time.Minute,
		MethodTimeout: map[string]time.Duration{"square": time.Second},
	}
	w, err := d.Start(ctx, lifecycle.Self("example"))
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()

	_, err = client.Call(ctx, w, transport.Method[int, int]("cube"), 3)
	fmt.Println(err)
	fmt.Println(errors.Is(err, transport.CodeUnknownMethod), client.SafeToRetry(err))
	// Output:
	// cube: unknown method: the worker has no method "cube"
	// true true
}
