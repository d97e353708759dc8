package main

import (
	"context"
	"errors"
	"io"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/detached-workers/unref/bench/systems/internal/protobulk"
)

const (
	// chunk is the size of the messages of an echo that is a stream.
	chunk = 256 << 10

	// largest is the largest payload that travels as one message. The format
	// ends at 4 MiB, and from here on a stream is faster.
	largest = 512 << 10
)

type caller struct{ *ttrpc.Client }

func (c caller) Echo(ctx context.Context, payload []byte) ([]byte, error) {
	if len(payload) > largest {
		return c.echoStream(ctx, payload)
	}
	var reply wrapperspb.BytesValue
	err := c.Call(ctx, service, echoMethod, wrapperspb.Bytes(payload), &reply)
	return reply.GetValue(), err
}

// echoStream sends and receives at the same time: there is no flow control,
// and a stream that is not read for a second is closed.
func (c caller) echoStream(ctx context.Context, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	desc := &ttrpc.StreamDesc{StreamingClient: true, StreamingServer: true}
	stream, err := c.NewStream(ctx, desc, service, streamMethod, nil)
	if err != nil {
		return nil, err
	}
	sent := make(chan error, 1) // of one value, when all is sent
	go func() { sent <- send(stream, payload) }()
	reply, err := collect(stream, make([]byte, 0, len(payload)))
	if err != nil {
		return nil, err
	}
	return reply, <-sent
}

// send sends payload in chunks and ends the stream.
func send(stream ttrpc.ClientStream, payload []byte) error {
	for left := payload; len(left) > 0; left = left[min(len(left), chunk):] {
		if err := stream.SendMsg(wrapperspb.Bytes(left[:min(len(left), chunk)])); err != nil {
			return err
		}
	}
	return stream.CloseSend()
}

// collect appends what comes, to the stream's end.
func collect(stream ttrpc.ClientStream, b []byte) ([]byte, error) {
	for {
		var part wrapperspb.BytesValue
		err := stream.RecvMsg(&part)
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
		b = append(b, part.GetValue()...)
	}
}

func (c caller) Push(ctx context.Context, size int) error {
	stream, err := c.NewStream(ctx, &ttrpc.StreamDesc{StreamingClient: true}, service, pushMethod, nil)
	if err != nil {
		return err
	}
	return protobulk.Push(stream, size)
}
