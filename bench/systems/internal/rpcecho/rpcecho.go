// Package rpcecho is the service of the systems that speak net/rpc, and its
// caller. At any point in time any number of calls share one [rpc.Client].
package rpcecho

import (
	"context"
	"net/rpc"

	"github.com/detached-workers/unref/bench/harness"
)

// Service has the methods that a worker registers.
type Service struct{}

// Echo returns the request.
func (Service) Echo(request []byte, reply *[]byte) error {
	*reply = harness.Echo(request)
	return nil
}

// Sink confirms a chunk.
func (Service) Sink(chunk []byte, receipt *string) error {
	*receipt = harness.ReceiptOf(chunk).String()
	return nil
}

const (
	// chunk is the size of a push's messages.
	chunk = 256 << 10

	// inFlight is how many of a push's messages are under way at once.
	inFlight = 4
)

// Caller calls the Service that a worker registered as Name.
type Caller struct {
	*rpc.Client
	Name string
}

// Echo is that of [harness.Caller]. net/rpc knows no contexts.
func (c Caller) Echo(_ context.Context, payload []byte) ([]byte, error) {
	var reply []byte
	err := c.Call(c.Name+".Echo", payload, &reply)
	return reply, err
}

// Push sends messages without waiting for each one's reply, because net/rpc
// has no streams.
func (c Caller) Push(_ context.Context, size int) error {
	done := make(chan *rpc.Call, inFlight) // has room for all replies that are due
	pending := 0
	for b := range harness.Chunks(size, chunk) {
		if pending == inFlight {
			if err := confirmed(<-done); err != nil {
				return err
			}
			pending--
		}
		c.Go(c.Name+".Sink", b, new(string), done)
		pending++
	}
	for range pending {
		if err := confirmed(<-done); err != nil {
			return err
		}
	}
	return nil
}

// confirmed looks at the reply to a chunk.
func confirmed(call *rpc.Call) error {
	if call.Error != nil {
		return call.Error
	}
	return harness.ReceiptOf(call.Args.([]byte)).Check(*call.Reply.(*string))
}
