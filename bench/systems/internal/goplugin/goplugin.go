// Package goplugin starts, finds and serves plugins of hashicorp/go-plugin, as
// its examples do, for both of its protocols.
//
// At any point in time a plugin belongs to nobody: it ends when its host asks
// for that, and does not notice that its host has died. Start with [Plugin].
package goplugin

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/detached-workers/unref/bench/harness"
)

// name is what the only plugin is called.
const name = "bench"

// Orphan is what is true of both protocols.
const Orphan = "stay: a plugin does not watch its host"

var handshake = plugin.HandshakeConfig{
	ProtocolVersion:  1,
	MagicCookieKey:   "UNREF_BENCH_PLUGIN",
	MagicCookieValue: "plugin",
}

// Plugin is a contestant's settings. What its Implementation dispenses to the
// host has to be a [harness.Caller].
type Plugin struct {
	Protocol       plugin.Protocol
	Implementation plugin.Plugin

	// For gRPC only; nil otherwise.
	Dial   []grpc.DialOption
	Server func([]grpc.ServerOption) *grpc.Server
}

// Serve is the worker.
func (p Plugin) Serve() error {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: handshake,
		Plugins:         plugin.PluginSet{name: p.Implementation},
		GRPCServer:      p.Server,
		Logger:          hclog.NewNullLogger(),
	})
	return nil
}

// Start starts a worker. go-plugin does not let a context bound that.
func (p Plugin) Start(ctx context.Context) (harness.Worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	config := p.config()
	config.Cmd = exec.CommandContext(context.WithoutCancel(ctx), self, "worker")
	client := plugin.NewClient(config)
	caller, err := dispense(client)
	if err != nil {
		client.Kill()
		return nil, err
	}
	return worker{client: client, caller: caller, end: client.Kill}, nil
}

// Attach connects to a plugin by the address of its worker. go-plugin has no
// way to let go of a plugin without ending it, so the connection stays until
// this process ends.
func (p Plugin) Attach(_ context.Context, address string) (harness.Worker, error) {
	pid, socket, _ := strings.Cut(address, ":")
	n, err := strconv.Atoi(pid)
	if err != nil {
		return nil, fmt.Errorf("%q is not PID:SOCKET", address)
	}
	config := p.config()
	config.Reattach = &plugin.ReattachConfig{
		Protocol: p.Protocol,
		Addr:     &net.UnixAddr{Net: "unix", Name: socket},
		Pid:      n,
	}
	client := plugin.NewClient(config)
	caller, err := dispense(client)
	if err != nil {
		return nil, err
	}
	return worker{client: client, caller: caller, end: func() {}}, nil
}

func (p Plugin) config() *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig:  handshake,
		Plugins:          plugin.PluginSet{name: p.Implementation},
		AllowedProtocols: []plugin.Protocol{p.Protocol},
		GRPCDialOptions:  p.Dial,
		Logger:           hclog.NewNullLogger(),
	}
}

func dispense(client *plugin.Client) (harness.Caller, error) {
	protocol, err := client.Client()
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(name)
	if err != nil {
		return nil, err
	}
	return raw.(harness.Caller), nil
}

// worker is a plugin, seen from its host.
type worker struct {
	client *plugin.Client
	caller harness.Caller
	end    func()
}

func (w worker) Caller(context.Context) (harness.Caller, error) { return w.caller, nil }

func (w worker) Pid() int { return w.client.ReattachConfig().Pid }

func (w worker) Address() string {
	c := w.client.ReattachConfig()
	return fmt.Sprintf("%d:%s", c.Pid, c.Addr)
}

func (w worker) Close() error {
	w.end()
	return nil
}
