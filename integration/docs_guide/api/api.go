// Package api is the contract between mytool and its worker in the guide.
package api

import "github.com/detached-workers/unref/transport"

// Count counts the words in the text files of a directory.
const Count transport.Method[CountRequest, CountReply] = "count"

// CountRequest names the directory; it must be absolute.
type CountRequest struct{ Dir string }

// CountReply says how many words there are, and how many files had to be read to know that.
type CountReply struct{ Words, Files, Read int }

// Settings is what a worker is started with. One that was started with others is replaced.
type Settings struct {
	// MinLength is the length in bytes from which on a word counts.
	MinLength int `json:"min_length,omitempty"`
}
