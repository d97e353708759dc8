package transport

// The methods that every worker has. Names that begin with "unref." are
// reserved for them.
const (
	// MethodShutdown asks the worker to leave: it answers, finishes the calls
	// in flight within its grace and exits with status 0.
	MethodShutdown Method[struct{}, struct{}] = "unref.shutdown"

	// MethodStacks returns the stacks of the worker's goroutines.
	MethodStacks Method[struct{}, string] = "unref.stacks"

	// MethodMethods returns the names of the worker's methods in order.
	MethodMethods Method[struct{}, []string] = "unref.methods"
)
