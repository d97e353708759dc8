package grpcecho

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/detached-workers/unref/bench/systems/internal/protobulk"
)

// Caller calls the service over a connection.
type Caller struct{ *grpc.ClientConn }

// Echo is that of [harness.Caller].
func (c Caller) Echo(ctx context.Context, payload []byte) ([]byte, error) {
	var reply wrapperspb.BytesValue
	err := c.Invoke(ctx, echoMethod, wrapperspb.Bytes(payload), &reply)
	return reply.GetValue(), err
}

// Push is that of [harness.Caller].
func (c Caller) Push(ctx context.Context, size int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream if it has failed
	stream, err := c.NewStream(ctx, &pushStream, pushMethod)
	if err != nil {
		return err
	}
	return protobulk.Push(stream, size)
}
