// Package unrefsystem is the system that this repository is about, as its
// README shows it: the program is its own worker, requests and replies are CBOR,
// and each call has the usual time limit. What the payload of an echo is wrapped
// in is up to the program.
package unrefsystem

import (
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"

	"github.com/detached-workers/unref/bench/harness"
)

const name = "bench"

// Form is what an echo's requests and replies are.
type Form[T any] struct {
	Name   string // of the system
	Config string // how payloads are wrapped

	Wrap   func(payload []byte) T
	Unwrap func(T) []byte
}

const pushMethod transport.BidiMethod[transport.Chunk, string] = "push"

func (f Form[T]) echoMethod() transport.Method[T, T] { return "echo" }

// maxMessage is above the largest echo, on both sides.
const maxMessage = 128 << 20

// Main plays the program's role.
func (f Form[T]) Main() {
	if w, err := lifecycle.Current(); w != nil || err != nil {
		f.serve()
	}
	harness.Main(harness.System{
		Name:   f.Name,
		Config: "client.Start of lifecycle.Self, CBOR, " + f.Config + ", the default limit of 30 s on each call, messages up to 128 MiB, bulk as a stream of messages of 512 KiB",
		Orphan: "leave, because they watch their owner",
		Start:  f.start,
		Attach: f.attach,
	})
}
