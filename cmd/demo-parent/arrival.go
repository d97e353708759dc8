package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/detached-workers/unref/client"
)

// arrival is a worker that has come into a slot, and why it is this one.
type arrival struct {
	Pid    int  `json:"pid"`
	Shared bool `json:"shared"`
	client.Decision
}

func newArrival(pid int, shared bool, decision client.Decision) arrival {
	if !shared {
		decision = client.Decision{Action: client.Started, Reason: "it is for this run only"}
	}
	return arrival{Pid: pid, Shared: shared, Decision: decision}
}

// isNew reports whether the worker knows nothing yet.
func (a arrival) isNew() bool { return a.Action != client.Reused }

// cause says why it is this worker, in words that are the same for workers that have come for the same reason.
func (a arrival) cause() string {
	switch {
	case a.Action == client.Reused:
		return "reused: same configuration"
	case len(a.Differences) > 0:
		var parts []string
		for _, d := range a.Differences {
			parts = append(parts, d.String())
		}
		return "relaunched: " + strings.Join(parts, ", ")
	}
	return fmt.Sprintf("%s: %s", a.Action, a.Reason)
}

// origins says in one line where the workers have come from. It is empty if there are none.
func origins(list []arrival) string {
	var causes []string
	pids := make(map[string][]string)
	for _, a := range list {
		cause := a.cause()
		if !slices.Contains(causes, cause) {
			causes = append(causes, cause)
		}
		pids[cause] = append(pids[cause], strconv.Itoa(a.Pid))
	}
	if len(causes) == 0 {
		return ""
	}
	for i, cause := range causes {
		causes[i] = several(pids[cause], maxNamed) + " " + cause
	}
	return "workers: " + strings.Join(causes, "; ")
}

// The states in which workers can be found.
const (
	cold   = "cold"        // all are new
	partly = "partly warm" // some are
	warm   = "warm"        // none is
)

// warmth returns the state in which the used workers of a round were, given those that have come in its course.
func warmth(used int, list []arrival) string {
	fresh := 0
	for _, a := range list {
		if a.isNew() {
			fresh++
		}
	}
	switch {
	case fresh == 0:
		return warm
	case fresh < used:
		return partly
	}
	return cold
}
