// Unref is the system that this repository is about, as its README shows it:
// the program is its own worker, requests and replies are CBOR, and each call
// has the usual time limit.
package main

import (
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"

	"github.com/detached-workers/unref/bench/harness"
)

const name = "bench"

// The contract of the two roles.
const (
	echoMethod transport.Method[transport.Chunk, transport.Chunk] = "echo"
	pushMethod transport.BidiMethod[transport.Chunk, string]      = "push"
)

// maxMessage is above the largest echo, on both sides.
const maxMessage = 128 << 20

func main() {
	if w, err := lifecycle.Current(); w != nil || err != nil {
		serve()
	}
	harness.Main(harness.System{
		Name:   "unref",
		Config: "client.Start of lifecycle.Self, CBOR, the default limit of 30 s on each call, messages up to 128 MiB, bulk as a stream of messages of 512 KiB",
		Orphan: "leave, because they watch their owner",
		Start:  start,
		Attach: attach,
	})
}
