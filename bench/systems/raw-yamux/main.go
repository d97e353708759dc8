// Raw-yamux is bytes with a length before them over streams of one yamux
// session: what multiplexing alone costs.
package main

import (
	"context"
	"io"
	"net"

	"github.com/hashicorp/yamux"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/systems/internal/frames"
	"github.com/detached-workers/unref/bench/systems/internal/unixworker"
)

func main() {
	unixworker.Main(harness.System{
		Name:   "raw-yamux",
		Config: "length-prefixed bytes, one yamux session, a stream for each caller, windows of 4 MiB, no keepalive, bulk in writes of 512 KiB",
		Orphan: "leave with their first session",
	}, serve, dial)
}

// settings join much, because each write to a stream waits until it is sent.
var settings = frames.Settings{Joined: 128 << 10, Chunk: 512 << 10}

// window is how many bytes of a stream may be under way. Small windows wait for
// updates, large ones leave the processor's cache.
const window = 4 << 20

// config is of both ends. Between processes of one machine the kernel reports
// the other end's death, and a keepalive would only cost.
func config() *yamux.Config {
	c := yamux.DefaultConfig()
	c.MaxStreamWindowSize = window
	c.EnableKeepAlive = false
	c.LogOutput = io.Discard
	return c
}

type client struct{ session *yamux.Session }

func dial(ctx context.Context, socket string) (unixworker.Client, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	session, err := yamux.Client(c, config())
	if err != nil {
		return nil, err
	}
	return client{session}, nil
}

func (c client) Caller(context.Context) (harness.Caller, error) {
	stream, err := c.session.OpenStream()
	if err != nil {
		return nil, err
	}
	return settings.New(stream), nil
}

func (c client) Close() error { return c.session.Close() }
