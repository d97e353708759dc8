// Go-plugin-netrpc is hashicorp/go-plugin with net/rpc, its first protocol and
// its faster one: gob over yamux. A plugin outlives a host that was killed.
package main

import (
	"net/rpc"

	"github.com/hashicorp/go-plugin"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/systems/internal/goplugin"
	"github.com/detached-workers/unref/bench/systems/internal/rpcecho"
)

func main() {
	p := goplugin.Plugin{Protocol: plugin.ProtocolNetRPC, Implementation: both{}}
	harness.Main(harness.System{
		Name:   "go-plugin-netrpc",
		Config: "gob over yamux over a Unix socket, no AutoMTLS, null logger, one client for all callers, bulk as a raw stream of its MuxBroker",
		Orphan: goplugin.Orphan,
		Worker: p.Serve,
		Start:  p.Start,
		Attach: p.Attach,
	})
}

// both is a plugin on both sides.
type both struct{}

// Server is called in the plugin.
func (both) Server(broker *plugin.MuxBroker) (any, error) { return service{broker: broker}, nil }

// Client is called in the host. go-plugin names each service "Plugin".
func (both) Client(broker *plugin.MuxBroker, client *rpc.Client) (any, error) {
	return caller{Caller: rpcecho.Caller{Client: client, Name: "Plugin"}, broker: broker}, nil
}
