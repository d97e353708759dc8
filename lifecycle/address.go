package lifecycle

import "path/filepath"

// Address is what it takes to reach a worker.
type Address struct {
	// Name is the worker's own name, as in [Command.Name].
	Name string `json:"worker"`
	// ID is the random id of the instance, 16 hexadecimal digits.
	ID string `json:"id"`
	// Dir is the instance directory.
	Dir string `json:"dir"`
	// Secret is what a caller has to know. It must not be changed.
	Secret []byte `json:"secret"`
}

// Socket returns the path at which the worker listens. There is nothing until it does.
func (a *Address) Socket() string { return filepath.Join(a.Dir, socketName) }
