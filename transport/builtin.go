package transport

import "time"

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
)

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
