// Demo-worker is a worker that type-checks Go packages for as long as somebody may ask again. Its contract is package
// api; the engine is package typecheck. It also makes images smaller, and has a few small methods for tests and for the
// tour.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
	"github.com/detached-workers/unref/cmd/demo-worker/typecheck"
	"github.com/detached-workers/unref/server"
	"github.com/detached-workers/unref/transport"
)

func main() {
	if len(os.Args) == 2 && playChild(os.Args[1]) {
		return
	}
	var mux server.Mux
	register(&mux)
	server.Main(&mux)
}

// register adds all methods.
func register(mux *server.Mux) {
	var checker typecheck.Checker
	server.Handle(mux, api.Plan, func(ctx context.Context, req api.PlanRequest) (api.PlanReply, error) {
		reply, err := checker.Plan(ctx, req)
		return reply, coded(err)
	})
	server.HandleStream(mux, api.Check, func(ctx context.Context, req api.CheckRequest, send func(api.CheckEvent) error) error {
		return coded(checker.Check(ctx, req, send))
	})
	server.Handle(mux, api.Thumbnail, thumbnail)
	server.Handle(mux, api.Sample, sample)
	server.Handle(mux, api.Echo, echo)
	server.Handle(mux, api.Sleep, sleep)
	server.Handle(mux, api.Square, square)
	server.HandleStream(mux, api.Count, count)
	server.HandleBidi(mux, api.Sum, sum)
	server.Handle(mux, api.Print, print)
	server.Handle(mux, api.Crash, crash)
	server.Handle(mux, api.Children, children)
}

// coded says of an unusable request that it is one.
func coded(err error) error {
	if _, ok := errors.AsType[*typecheck.RequestError](err); ok {
		return transport.Errorf(transport.CodeInvalid, "%w", err)
	}
	return err
}
