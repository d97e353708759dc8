package client

import (
	"fmt"
	"time"

	"github.com/detached-workers/unref/lifecycle"
)

// Action is what [Dialer.Attach] has done.
type Action string

// The actions.
const (
	Reused   Action = "reused"   // a worker that was there
	Started  Action = "started"  // a worker, because none could be used
	Replaced Action = "replaced" // a worker with another one
)

// Decision is what [Dialer.Attach] has done and why.
type Decision struct {
	Action Action `json:"action"`
	Reason string `json:"reason"`

	// Differences are those between the configuration of the worker that was
	// replaced and the one asked for; of [Dialer.Explain], of the worker that
	// would be.
	Differences []lifecycle.Difference `json:"differences,omitempty"`

	// Previous is the pid of the worker that was replaced, 0 if none was.
	Previous int `json:"previous,omitempty"`

	// Waited is how long others had to be waited for, and WaitedFor for what.
	Waited    time.Duration `json:"waited,omitempty"` // in nanoseconds
	WaitedFor string        `json:"waited_for,omitempty"`
}

// String says it in one line.
func (d Decision) String() string {
	text := fmt.Sprintf("%s: %s", d.Action, d.Reason)
	if d.WaitedFor != "" {
		text += fmt.Sprintf(" (waited %v for %s)", d.Waited.Round(time.Millisecond), d.WaitedFor)
	}
	return text
}
