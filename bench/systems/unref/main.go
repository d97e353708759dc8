// Unref is the system that this repository is about, with payloads in the form
// that its documentation recommends for bytes.
package main

import (
	"github.com/detached-workers/unref/transport"

	"github.com/detached-workers/unref/bench/systems/internal/unrefsystem"
)

func main() {
	unrefsystem.Form[transport.Chunk]{
		Name:   "unref",
		Config: "each payload a transport.Chunk",
		Wrap:   func(payload []byte) transport.Chunk { return payload },
		Unwrap: func(chunk transport.Chunk) []byte { return chunk },
	}.Main()
}
