// Unref-struct is unref with payloads in a struct, whose fields the CBOR library
// encodes and decodes, as those of most programs are.
package main

import "github.com/detached-workers/unref/bench/systems/internal/unrefsystem"

// message is what a request and a reply of a program usually look like.
type message struct {
	Op   string
	Data []byte
}

func main() {
	unrefsystem.Form[message]{
		Name:   "unref-struct",
		Config: "each payload in a struct of two fields",
		Wrap:   func(payload []byte) message { return message{Op: "echo", Data: payload} },
		Unwrap: func(m message) []byte { return m.Data },
	}.Main()
}
