// Grpc-go is gRPC over a Unix socket, to a process that it started. Nothing
// ties that process to its starter.
package main

import (
	"context"
	"net"

	"google.golang.org/grpc"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/systems/internal/grpcecho"
	"github.com/detached-workers/unref/bench/systems/internal/unixworker"
)

func main() {
	unixworker.Main(harness.System{
		Name:   "grpc-go",
		Config: "protobuf over a Unix socket, " + grpcecho.Config + ", bulk as a client stream of 256 KiB",
		Orphan: unixworker.Orphan,
	}, serve, unixworker.Shared(open))
}

func serve(l net.Listener) error {
	s := grpc.NewServer(grpcecho.ServerOptions()...)
	grpcecho.Register(s)
	return s.Serve(l)
}

// open returns before the connection is there: the first call makes it.
func open(_ context.Context, socket string) (unixworker.Conn, error) {
	conn, err := grpc.NewClient("unix:"+socket, grpcecho.DialOptions()...)
	if err != nil {
		return nil, err
	}
	return grpcecho.Caller{ClientConn: conn}, nil
}
