// Execrpc is bep/execrpc, which Hugo uses, over the worker's standard input and
// output. It is used raw, with bytes as they are, which is its fastest way. Its
// worker ends when its standard input does.
//
// A worker reads one request at a time and answers it before the next, as the
// typed server does too. A later process has no way to its pipes.
package main

import (
	"github.com/detached-workers/unref/bench/harness"
)

func main() {
	harness.Main(harness.System{
		Name:   "execrpc",
		Config: "raw messages over the worker's standard input and output, one client for all callers, bulk as 4 calls of 256 KiB in flight",
		Orphan: "leave with their standard input",
		Worker: serve,
		Start:  start,
	})
}

// The status of a request says what to do. Execrpc keeps those below 100 for
// itself.
const (
	statusEcho = 100 + iota
	statusSink // the receipt of the body is returned
	statusPid  // the worker's process id is returned
)
