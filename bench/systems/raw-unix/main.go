// Raw-unix is the floor of the benchmark: bytes with a length before them over
// a Unix socket, without anything that a user would want besides. Each caller
// has a connection of its own, so that no two ever wait for each other.
package main

import (
	"context"
	"net"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/systems/internal/frames"
	"github.com/detached-workers/unref/bench/systems/internal/unixworker"
)

func main() {
	unixworker.Main(harness.System{
		Name:   "raw-unix",
		Config: "length-prefixed bytes, one connection for each caller, no timeouts, bulk in writes of 256 KiB",
		Orphan: "leave with the pipe to their standard input",
	}, serve, unixworker.Separate(open))
}

// settings join what costs less to copy than to hand to the kernel in two
// parts. Larger chunks are slower, because they leave the processor's cache.
var settings = frames.Settings{Joined: 4 << 10, Chunk: 256 << 10}

// serve answers connections until the parent is gone.
func serve(l net.Listener) error {
	go unixworker.ExitWithParent()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go settings.New(c).Serve()
	}
}

func open(ctx context.Context, socket string) (unixworker.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	return settings.New(c), nil
}
