package main

import (
	"context"
	"io"

	"github.com/hashicorp/go-plugin"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/systems/internal/rpcecho"
)

// chunk is how much of a push is written at a time.
const chunk = 256 << 10

// service is net/rpc's, with bulk over a stream of its own.
type service struct {
	rpcecho.Service
	broker *plugin.MuxBroker
}

// Receive reads the stream with this number to its end and confirms what came.
func (s service) Receive(id uint32, confirmed *string) error {
	stream, err := s.broker.Accept(id)
	if err != nil {
		return err
	}
	defer stream.Close()
	var receipt harness.Receipt
	_, err = io.CopyBuffer(&receipt, onlyReader{stream}, make([]byte, chunk))
	*confirmed = receipt.String()
	return err
}

// onlyReader hides how else its reader can be copied, so that the buffer counts.
type onlyReader struct{ io.Reader }

// caller is net/rpc's, with bulk over a stream of its own.
type caller struct {
	rpcecho.Caller
	broker *plugin.MuxBroker
}

// Push writes to a stream that the broker connects, which is go-plugin's way
// for raw data.
func (c caller) Push(_ context.Context, size int) error {
	id := c.broker.NextId()
	call := c.Go("Plugin.Receive", id, new(string), nil)
	receipt, err := c.write(id, size)
	if err != nil {
		return err
	}
	if <-call.Done; call.Error != nil {
		return call.Error
	}
	return receipt.Check(*call.Reply.(*string))
}

// write returns the receipt for what it has written.
func (c caller) write(id uint32, size int) (*harness.Receipt, error) {
	stream, err := c.broker.Dial(id)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	receipt := new(harness.Receipt)
	for b := range harness.Chunks(size, chunk) {
		receipt.Add(b)
		if _, err := stream.Write(b); err != nil {
			return nil, err
		}
	}
	return receipt, nil
}
