package main

import (
	"context"
	"net"

	"google.golang.org/protobuf/types/known/wrapperspb"
	"storj.io/drpc/drpcconn"

	"github.com/detached-workers/unref/bench/systems/internal/protobulk"
	"github.com/detached-workers/unref/bench/systems/internal/unixworker"
)

type caller struct{ *drpcconn.Conn }

func open(ctx context.Context, socket string) (unixworker.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	return caller{drpcconn.NewWithOptions(c, drpcconn.Options{Manager: manager()})}, nil
}

func (c caller) Echo(ctx context.Context, payload []byte) ([]byte, error) {
	var reply wrapperspb.BytesValue
	err := c.Invoke(ctx, echoRPC, encoding{}, wrapperspb.Bytes(payload), &reply)
	return reply.GetValue(), err
}

func (c caller) Push(ctx context.Context, size int) error {
	stream, err := c.NewStream(ctx, pushRPC, encoding{})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }() // it matters only after a failure, which is returned
	return protobulk.Push(messages{stream}, size)
}
