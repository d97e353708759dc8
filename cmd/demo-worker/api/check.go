package api

import (
	"fmt"
	"time"
)

// PlanRequest says what is to be checked, in the words of `go list`.
type PlanRequest struct {
	// Dir is the directory that relative patterns start from and that diagnostics are relative to; it must be absolute.
	Dir string
	// Patterns are package patterns; none means ".".
	Patterns []string
	// Tags are additional build tags.
	Tags []string
	// GOOS and GOARCH are the target; empty means what the go command takes by default.
	GOOS   string
	GOARCH string
	// NoTests leaves out the packages' tests, which are checked otherwise, as `go vet` does.
	NoTests bool
}

// PlanReply is the package graph: everything that is needed to check the targets.
type PlanReply struct {
	Config Config
	// Packages are in dependency order: a package comes after all that it imports.
	Packages []Package
	// Listed says that `go list` ran. False means that nothing had changed that could change the graph.
	Listed bool
	// Reason says why `go list` ran: "first", "changed: <path>", "errors" and the like; empty if it did not.
	Reason string
	// Elapsed is the time that the plan took.
	Elapsed time.Duration
}

// Config is what all packages of a plan have in common.
type Config struct {
	// Dir is the directory that diagnostics are relative to.
	Dir string
	// GOARCH is the target architecture, which decides about the sizes of types.
	GOARCH string
	// Toolchain identifies the go command and its standard library; packages that are checked with different
	// toolchains have nothing in common.
	Toolchain string
}

// Package is one package of a plan, or one variant of it: a package with internal tests exists as "p" and as
// "p [p.test]", its external tests are "p_test [p.test]".
type Package struct {
	// ID is the package's name in the plan, the ImportPath of `go list`.
	ID string
	// Path is the import path without the mark of the variant; Name is the name of the package clause.
	Path string
	Name string
	// Dir holds the package's files.
	Dir string
	// Files are the Go files to check, relative to Dir or absolute.
	Files []string
	// Imports are the IDs of the packages that this one imports; ImportMap leads from the path in the source to the ID
	// where they differ.
	Imports   []string
	ImportMap map[string]string
	// GoVersion is the language version, like "go1.26"; empty means the newest.
	GoVersion string
	// Target says that the patterns name this package; false means that it is only a dependency.
	Target bool
	// Cgo says that files of the package import "C".
	Cgo bool
	// Fixed says that the files never change while the toolchain is the same: the standard library and the module
	// cache.
	Fixed bool
	// Bytes is the size of the files of a target; it weighs the package in [PlanReply.Split].
	Bytes int64
	// Errors is why the package cannot be checked at all: what `go list` said.
	Errors []Diagnostic
}

// CheckRequest asks for packages of a plan to be checked. [PlanReply.Request] makes one.
type CheckRequest struct {
	Config Config
	// Packages are the targets and everything that they depend on, in dependency order.
	Packages []Package
	// Targets are the IDs of the packages to check in full; of all others only the declarations are checked.
	Targets []string
}

// The kinds of events.
const (
	// EventStarted says that the check of a target has begun. Targets whose result is reused or that are skipped have
	// no such event.
	EventStarted = "started"
	// EventDone is the result for one package. Each target has exactly one. A package that is no target of the plan at
	// all has one if its errors are the reason why targets were skipped. Each worker of a shared check reports it, and a
	// package with internal tests has the same errors with and without them, so who prints diagnostics leaves out doubles.
	EventDone = "done"
	// EventSummary is the last event of a check that was finished.
	EventSummary = "summary"
)

// CheckEvent is something that happened during a check.
type CheckEvent struct {
	Kind string

	// ID names the package of a started or done event.
	ID string
	// Reused says that the result is from an earlier check.
	Reused bool
	// SkippedFor is the ID of a package with errors in its declarations that this one depends on, so that it could not
	// be checked; empty if it was checked.
	SkippedFor string
	// Diagnostics are ordered by position; there are at most 200 for one package. The others are counted in Dropped.
	Diagnostics []Diagnostic
	Dropped     int
	// Elapsed is the time for this package, or, in a summary, for everything.
	Elapsed time.Duration

	// Summary counts the packages of the check; only a summary event has it.
	Summary *Summary
}

// Summary counts what a check did.
type Summary struct {
	// Checked, Reused and Skipped add up to the number of targets.
	Checked, Reused, Skipped int
	// DependenciesChecked counts the packages whose declarations were checked because a target needed them;
	// DependenciesReused counts all other dependencies: known from before, or not needed because no target was
	// checked that depends on them.
	DependenciesChecked, DependenciesReused int
	// Diagnostics counts the diagnostics of all targets, with those that were dropped.
	Diagnostics int
}

// Diagnostic is one error in the source.
type Diagnostic struct {
	// File is as the go command prints it: relative to the Dir of the request, with ./ before the plain name of a file,
	// or absolute where that is shorter. It is empty if the error has no position.
	File string
	// Line and Column count from 1, columns in bytes; zero means unknown.
	Line   int
	Column int
	// Message can have several lines; all but the first begin with a tab.
	Message string
}

// String returns the diagnostic as compilers print it: file:line:column: message.
func (d Diagnostic) String() string {
	switch {
	case d.File == "":
		return d.Message
	case d.Line == 0:
		return fmt.Sprintf("%s: %s", d.File, d.Message)
	case d.Column == 0:
		return fmt.Sprintf("%s:%d: %s", d.File, d.Line, d.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", d.File, d.Line, d.Column, d.Message)
}
