// Go-plugin-grpc is hashicorp/go-plugin with gRPC, its protocol for plugins in
// any language. A plugin outlives a host that was killed.
package main

import (
	"context"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/systems/internal/goplugin"
	"github.com/detached-workers/unref/bench/systems/internal/grpcecho"
)

func main() {
	p := goplugin.Plugin{
		Protocol:       plugin.ProtocolGRPC,
		Implementation: service{},
		Dial:           grpcecho.DialOptions(),
		Server: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options, grpcecho.ServerOptions()...)...)
		},
	}
	harness.Main(harness.System{
		Name:   "go-plugin-grpc",
		Config: "gRPC over a Unix socket, " + grpcecho.Config + ", no AutoMTLS, null logger, bulk as a client stream of 256 KiB",
		Orphan: goplugin.Orphan,
		Worker: p.Serve,
		Start:  p.Start,
		Attach: p.Attach,
	})
}

// service is a plugin on both sides.
type service struct{ plugin.NetRPCUnsupportedPlugin }

// GRPCServer is called in the plugin.
func (service) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	grpcecho.Register(s)
	return nil
}

// GRPCClient is called in the host.
func (service) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return grpcecho.Caller{ClientConn: conn}, nil
}
