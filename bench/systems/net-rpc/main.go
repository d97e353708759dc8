// Net-rpc is the standard library's net/rpc with gob over a Unix socket, to a
// process that it started. Nothing ties that process to its starter.
package main

import (
	"context"
	"net"
	"net/rpc"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/systems/internal/rpcecho"
	"github.com/detached-workers/unref/bench/systems/internal/unixworker"
)

const service = "Bench"

func main() {
	unixworker.Main(harness.System{
		Name:   "net-rpc",
		Config: "gob over a Unix socket, one client for all callers, bulk as 4 calls of 256 KiB in flight",
		Orphan: unixworker.Orphan,
	}, serve, unixworker.Shared(open))
}

func serve(l net.Listener) error {
	s := rpc.NewServer()
	if err := s.RegisterName(service, rpcecho.Service{}); err != nil {
		return err
	}
	s.Accept(l)
	return nil
}

func open(ctx context.Context, socket string) (unixworker.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	return rpcecho.Caller{Client: rpc.NewClient(c), Name: service}, nil
}
