// Package api is the contract between the parent and the worker of the README.
package api

import "github.com/detached-workers/unref/transport"

// CountRequest is a text to count.
type CountRequest struct{ Text string }

// CountReply says how much there is of it.
type CountReply struct{ Words, Bytes int }

// The methods of the worker.
const (
	Count transport.Method[CountRequest, CountReply]   = "count"
	Words transport.StreamMethod[CountRequest, string] = "words"
)
