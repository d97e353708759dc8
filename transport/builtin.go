package transport

import (
	"errors"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// The methods that every worker has. Names that begin with [ReservedPrefix] are
// reserved for them.
const (
	ReservedPrefix = "unref."

	// MethodShutdown asks the worker to leave: it answers, finishes the calls
	// in flight within its grace and exits with status 0.
	MethodShutdown Method[struct{}, struct{}] = "unref.shutdown"

	// MethodStacks returns the stacks of the worker's goroutines.
	MethodStacks Method[struct{}, string] = "unref.stacks"

	// MethodMethods returns the worker's methods in the order of their names.
	MethodMethods Method[struct{}, []MethodInfo] = "unref.methods"

	// MethodStatus returns what the worker says of itself.
	MethodStatus Method[struct{}, Status] = "unref.status"

	// MethodEvents is a subscription to events. It ends when the worker leaves.
	MethodEvents StreamMethod[EventsRequest, EventMessage] = "unref.events"
)

// EventsRequest says which events are wanted.
type EventsRequest struct {
	Names []string `cbor:"names" json:"names"`
}

// Validate refuses a subscription to nothing.
func (r EventsRequest) Validate() error {
	if len(r.Names) == 0 || slices.Contains(r.Names, "") {
		return errors.New("a subscription needs the names of events")
	}
	return nil
}

// EventMessage is a message of a subscription. One without a name is no event:
// the first one says that from now on nothing is missed but what later ones
// count, each before the event that comes next.
type EventMessage struct {
	Name   string          `cbor:"name,omitempty" json:"name,omitempty"`
	Body   cbor.RawMessage `cbor:"body,omitempty" json:"body,omitempty"`     // what was emitted, encoded
	Missed int             `cbor:"missed,omitempty" json:"missed,omitempty"` // events that were lost because the subscriber was too slow
}

// MethodInfo describes a method of a worker.
type MethodInfo struct {
	Name string `cbor:"name" json:"name"`
	Kind string `cbor:"kind" json:"kind"` // as [Kind.String] returns it
}

// Status is what a worker says of itself. Calls of the methods above are not
// counted, and callers with [FeatureObserver] are no clients.
type Status struct {
	Started time.Time `cbor:"started" json:"started"`

	// Idle is how long no client has been connected, 0 while one is.
	Idle time.Duration `cbor:"idle" json:"idle"`

	// Clients are connections. One that has ended counts until the handlers of
	// its calls have returned, those of notifications included.
	Clients  int    `cbor:"clients" json:"clients"`
	InFlight int64  `cbor:"in_flight" json:"in_flight"` // calls
	Done     uint64 `cbor:"done" json:"done"`           // calls that have ended, in whatever way

	// Leaving says why the worker takes no new clients, empty if it does.
	Leaving string `cbor:"leaving" json:"leaving,omitempty"`
}
