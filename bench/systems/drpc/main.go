// Drpc is Storj's drop-in replacement of gRPC, over a Unix socket, to a process
// that it started. Nothing ties that process to its starter.
//
// A connection carries one call at a time, so each caller has its own.
package main

import (
	"context"
	"net"

	"storj.io/drpc/drpcmanager"
	"storj.io/drpc/drpcmux"
	"storj.io/drpc/drpcserver"
	"storj.io/drpc/drpcwire"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/systems/internal/unixworker"
)

func main() {
	unixworker.Main(harness.System{
		Name:   "drpc",
		Config: "protobuf over a Unix socket, a connection for each caller, messages up to 128 MiB, write buffer of 256 KiB, bulk as a client stream of 256 KiB",
		Orphan: unixworker.Orphan,
	}, serve, unixworker.Separate(open))
}

// manager is of both ends. The write buffer makes a message of 64 KiB one write.
func manager() drpcmanager.Options {
	return drpcmanager.Options{
		WriterBufferSize: 256 << 10,
		Reader:           drpcwire.ReaderOptions{MaximumBufferSize: 128 << 20},
	}
}

func serve(l net.Listener) error {
	mux := drpcmux.New()
	if err := mux.Register(new(service), description{}); err != nil {
		return err
	}
	return drpcserver.NewWithOptions(mux, drpcserver.Options{Manager: manager()}).Serve(context.Background(), l)
}
