package main

import (
	"context"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"storj.io/drpc"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/systems/internal/protobulk"
)

const (
	echoRPC = "/bench.Bench/Echo"
	pushRPC = "/bench.Bench/Push"
)

// service is what a worker does.
type service struct{}

func (*service) Echo(_ context.Context, request *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
	return wrapperspb.Bytes(harness.Echo(request.GetValue())), nil
}

// Push confirms what comes.
func (*service) Push(stream drpc.Stream) error {
	receipt, err := protobulk.Receive(messages{stream})
	if err != nil {
		return err
	}
	return stream.MsgSend(receipt, encoding{})
}

// messages gives a stream the methods of gRPC's.
type messages struct{ drpc.Stream }

func (m messages) SendMsg(v any) error { return m.MsgSend(v, encoding{}) }

func (m messages) RecvMsg(v any) error { return m.MsgRecv(v, encoding{}) }

// description is what drpc's generator would write about the service.
type description struct{}

func (description) NumMethods() int { return 2 }

func (description) Method(n int) (string, drpc.Encoding, drpc.Receiver, any, bool) {
	switch n {
	case 0:
		return echoRPC, encoding{}, receiveEcho, (*service).Echo, true
	case 1:
		return pushRPC, encoding{}, receivePush, (*service).Push, true
	}
	return "", nil, nil, nil, false
}

func receiveEcho(srv any, ctx context.Context, request, _ any) (drpc.Message, error) {
	return srv.(*service).Echo(ctx, request.(*wrapperspb.BytesValue))
}

func receivePush(srv any, _ context.Context, stream, _ any) (drpc.Message, error) {
	return nil, srv.(*service).Push(stream.(drpc.Stream))
}

// encoding is what drpc's generator writes for protobuf.
type encoding struct{}

func (encoding) Marshal(m drpc.Message) ([]byte, error) { return proto.Marshal(m.(proto.Message)) }

func (encoding) MarshalAppend(b []byte, m drpc.Message) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend(b, m.(proto.Message))
}

func (encoding) Unmarshal(b []byte, m drpc.Message) error {
	return proto.Unmarshal(b, m.(proto.Message))
}
