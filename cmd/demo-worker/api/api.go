// Package api is the contract between demo-worker and the programs that call it: the names of the methods, each bound
// to the types of its request and its reply. Both sides import it, so that a mismatch is a compile error.
//
// The job of the worker for a short-lived parent is [Plan] and [Check], and for a server [Thumbnail] and [Sample]; the
// rest are small methods for tests and for the tour.
//
// A parent calls Plan on one worker, splits the targets over the workers with [PlanReply.Split], and streams Check from
// each of them. The requests carry the part of the plan that a worker needs, so `go list` runs once at most.
package api

import "github.com/detached-workers/unref/transport"

// The methods that check Go packages.
const (
	// Plan says which packages there are to check and what each of them consists of.
	Plan transport.Method[PlanRequest, PlanReply] = "plan"
	// Check type-checks packages and streams what it finds, package by package; the last event is a summary.
	Check transport.StreamMethod[CheckRequest, CheckEvent] = "check"
)

// The small methods.
const (
	// Echo answers with what it was sent.
	Echo transport.Method[EchoRequest, EchoReply] = "echo"
	// Sleep waits, and returns the error of its context when that ends first.
	Sleep transport.Method[SleepRequest, SleepReply] = "sleep"
	// Square multiplies a number by itself.
	Square transport.Method[SquareRequest, SquareReply] = "square"
	// Count streams numbered messages.
	Count transport.StreamMethod[CountRequest, CountMessage] = "count"
	// Sum answers each number with the sum of all so far.
	Sum transport.BidiMethod[SumRequest, SumReply] = "sum"
	// Print writes to the worker's output and its loggers.
	Print transport.Method[PrintRequest, PrintReply] = "print"
	// Crash ends the call or the worker in a chosen way.
	Crash transport.Method[CrashRequest, CrashReply] = "crash"
	// Children starts processes below the worker that never end by themselves.
	Children transport.Method[ChildrenRequest, ChildrenReply] = "children"
)
