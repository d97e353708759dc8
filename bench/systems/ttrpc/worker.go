package main

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/systems/internal/protobulk"
)

const (
	service = "bench.Bench"

	echoMethod   = "Echo"
	pushMethod   = "Push"
	streamMethod = "EchoStream"
)

func serve(l net.Listener) error {
	s, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	s.RegisterService(service, &ttrpc.ServiceDesc{
		Methods: map[string]ttrpc.Method{echoMethod: echo},
		Streams: map[string]ttrpc.Stream{
			pushMethod:   {Handler: push, StreamingClient: true},
			streamMethod: {Handler: echoStream, StreamingClient: true, StreamingServer: true},
		},
	})
	return s.Serve(context.Background(), l)
}

func echo(_ context.Context, unmarshal func(any) error) (any, error) {
	var request wrapperspb.BytesValue
	if err := unmarshal(&request); err != nil {
		return nil, err
	}
	return wrapperspb.Bytes(harness.Echo(request.GetValue())), nil
}

// push confirms what comes.
func push(_ context.Context, stream ttrpc.StreamServer) (any, error) {
	return protobulk.Receive(stream)
}

// echoStream returns chunk by chunk.
func echoStream(_ context.Context, stream ttrpc.StreamServer) (any, error) {
	for {
		var chunk wrapperspb.BytesValue
		err := stream.RecvMsg(&chunk)
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if err := stream.SendMsg(&chunk); err != nil {
			return nil, err
		}
	}
}
