package grpcecho

import (
	"math"
	"runtime"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Windows of one stream and of all together. They are fixed, which spares gRPC
// the estimating of the connection's speed. Larger buffers than gRPC's own of
// 32 KiB have not been faster.
const (
	streamWindow = 4 << 20
	connWindow   = 16 << 20
)

// Config says in a few words what the options are.
const Config = "no TLS, one connection, messages of any size, windows of 4 MiB and 16 MiB, a stream worker for each core"

// DialOptions are a client's.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
	}
}

// ServerOptions are a server's.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(math.MaxInt32),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.NumStreamWorkers(uint32(runtime.GOMAXPROCS(0))),
	}
}
