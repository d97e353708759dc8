package server_test

import (
	"context"
	"fmt"

	"github.com/detached-workers/unref/server"
	"github.com/detached-workers/unref/transport"
)

// Greet would stand in a package that the worker and its parents import.
const Greet transport.Method[string, string] = "greet"

// The main function of a worker. It has no output to compare here, because
// Main does not return: client.Start starts such a program.
func ExampleMain() {
	var mux server.Mux
	server.Handle(&mux, Greet, func(_ context.Context, name string) (string, error) {
		if name == "" {
			return "", transport.Errorf("greet.nobody", "there is nobody to greet")
		}
		return "hello " + name, nil
	})
	server.Main(&mux)
}

// One binary is both: MainIfWorker returns at once in the parent.
func ExampleMainIfWorker() {
	var mux server.Mux
	server.Handle(&mux, Greet, func(_ context.Context, name string) (string, error) { return "hello " + name, nil })
	server.MainIfWorker("greeter", &mux)

	fmt.Println("this is the parent: client.Start(ctx, lifecycle.Self(\"greeter\"))")
	// Output: this is the parent: client.Start(ctx, lifecycle.Self("greeter"))
}
