package lifecycle

import (
	"errors"
	"fmt"
)

// Owner names the process whose death ends a worker. The zero value means the process that calls [Command.Start].
// Owners can be compared with ==.
type Owner struct {
	none bool
	id   identity
}

// identity tells one process from all others, also from a later one with the same pid. It is part of the launch file.
type identity struct {
	Pid int `json:"pid"`
	// Start is the time the process was started, in a form of the system's own. Empty means not known: then only the
	// pid counts, and a reuse of it before the worker's first look goes unnoticed.
	Start string `json:"start,omitempty"`
	// PidNS and TimeNS name the namespaces in which Pid and Start mean something; empty where there are none.
	PidNS  string `json:"pidns,omitempty"`
	TimeNS string `json:"timens,omitempty"`
}

// OwnerProcess makes the running process pid an owner. Its identity is read now, so that a later process with the same
// pid is never taken for it. It is an error if there is no such process.
func OwnerProcess(pid int) (Owner, error) {
	id, err := identify(pid)
	if err != nil {
		return Owner{}, fmt.Errorf("identify owner %d: %w", pid, err)
	}
	return Owner{id: id}, nil
}

// NoOwner means nobody: the worker lives until it is stopped or one of its lifetimes ends.
func NoOwner() Owner {
	return Owner{none: true}
}

// errUnseen means that the owner cannot be watched from here, which does not mean that it is dead.
var errUnseen = errors.New("the owner is in another pid namespace")
