// Ttrpc is containerd's gRPC for low-memory environments, over a Unix socket,
// to a process that it started. Nothing ties that process to its starter.
//
// Its messages have at most 4 MiB, and that can't be changed, so a large echo is
// a stream of chunks both ways.
package main

import (
	"context"
	"net"

	"github.com/containerd/ttrpc"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/systems/internal/unixworker"
)

func main() {
	unixworker.Main(harness.System{
		Name:   "ttrpc",
		Config: "protobuf over a Unix socket, one connection, bulk and echoes above 512 KiB as streams of 256 KiB (messages end at 4 MiB)",
		Orphan: unixworker.Orphan,
	}, serve, unixworker.Shared(open))
}

func open(ctx context.Context, socket string) (unixworker.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	return caller{ttrpc.NewClient(c)}, nil
}
