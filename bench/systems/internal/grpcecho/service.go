// Package grpcecho is the service of the systems that speak gRPC, as the
// protobuf compiler would generate it for messages that hold bytes, and its
// caller. At any point in time any number of calls share one connection.
//
//	service Bench {
//	  rpc Echo(google.protobuf.BytesValue) returns (google.protobuf.BytesValue);
//	  rpc Push(stream google.protobuf.BytesValue) returns (google.protobuf.StringValue);
//	}
package grpcecho

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/systems/internal/protobulk"
)

const (
	serviceName = "bench.Bench"
	echoMethod  = "/" + serviceName + "/Echo"
	pushMethod  = "/" + serviceName + "/Push"
)

var pushStream = grpc.StreamDesc{StreamName: "Push", Handler: push, ClientStreams: true}

// Register gives s the service.
func Register(s grpc.ServiceRegistrar) {
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Echo", Handler: echo}},
		Streams:     []grpc.StreamDesc{pushStream},
	}, nil)
}

func echo(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	request := new(wrapperspb.BytesValue)
	if err := decode(request); err != nil {
		return nil, err
	}
	return wrapperspb.Bytes(harness.Echo(request.GetValue())), nil
}

// push confirms what comes.
func push(_ any, stream grpc.ServerStream) error {
	receipt, err := protobulk.Receive(stream)
	if err != nil {
		return err
	}
	return stream.SendMsg(receipt)
}
