// Package harness is what the program of each system is built on: it plays the
// roles that the benchmark gives to the program, and measures.
//
// At any point in time a program plays exactly one role, its first argument
// says which: the driver is the parent that is measured, the worker is the
// process that it calls. Both are the same file, which holds the code of that
// one system only, so that its start and its memory are the system's own.
//
// Start with [System], [Worker] and [Main]:
//
//	func main() {
//		harness.Main(harness.System{Name: "raw-unix", Worker: serve, Start: start})
//	}
//
// # Roles
//
//	describe                    prints a [Description] as one JSON object
//	driver SECTION KEY=VALUE... measures and prints one JSON object: metric -> number
//	hold N [spin]               starts N workers, see [Holding]
//	cli ADDRESS                 attaches, makes one call of 64 bytes, exits
//	worker ...                  is a worker, by [System.Worker]
//
// Everything that a role prints on standard output is meant for the
// benchmark's main program. Programs in other languages play the same roles.
package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// ProfileVar is the environment variable that asks the driver and its workers
// for CPU profiles. Its value is what the names of their files begin with.
const ProfileVar = "UNREF_BENCH_CPUPROFILE"

// limit bounds each role but the worker's and the holder's.
const limit = 5 * time.Minute

// System is one contestant.
type System struct {
	// Name is the row's name in the report.
	Name string

	// Config says in one line which configuration was chosen.
	Config string

	// Orphan says in a few words what a worker does whose owner was killed.
	Orphan string

	// Worker runs in the worker process, and returns or exits at its end. Nil
	// means that the system has taken over before Main is called.
	Worker func() error

	// Start starts this program as a worker process and connects to it. It
	// returns when a call can be made. ctx bounds the start only.
	Start func(ctx context.Context) (Worker, error)

	// Attach connects to a worker that another process started, by its
	// Address. Nil means that the system has no such thing.
	Attach func(ctx context.Context, address string) (Worker, error)
}

// Worker is a running worker process, seen from its parent.
type Worker interface {
	// Caller returns what one of several concurrent callers uses. It may be a
	// connection of its own or the worker's only one, whichever suits the
	// system best.
	Caller(ctx context.Context) (Caller, error)

	// Pid is the worker's process id.
	Pid() int

	// Address is for Attach, "" if there is none.
	Address() string

	// Close ends the worker after Start, lets go of it after Attach, and
	// returns when that is done.
	Close() error
}

// Caller makes calls, one at a time.
type Caller interface {
	// Echo sends payload and returns the same bytes, decoded, as the system's
	// users get them. They are valid until the next call.
	Echo(ctx context.Context, payload []byte) ([]byte, error)

	// Push sends size bytes, those of [Chunks], in the system's best way for
	// bulk, be it messages or a stream, and returns when the worker has
	// confirmed all of them with a [Receipt], or each message with one.
	Push(ctx context.Context, size int) error
}

// Metrics is what a driver prints: durations in nanoseconds, sizes in bytes,
// rates per second.
type Metrics map[string]float64

// Description is what a program says of itself.
type Description struct {
	Name   string `json:"name"`
	Config string `json:"config"`
	Orphan string `json:"orphan"`
	Attach bool   `json:"attach"` // whether it plays the role "cli"

	// Version names the versions of what it is made of. A Go program leaves it
	// empty, because its build information has them.
	Version string `json:"version,omitempty"`
}

// Main plays the role that the arguments ask for and never returns.
func Main(s System) {
	if err := play(s, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", s.Name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func play(s System, args []string) error {
	if len(args) == 0 {
		return errors.New("no role: the benchmark's main program runs this one")
	}
	switch args[0] {
	case "worker":
		if s.Worker == nil {
			return errors.New("its workers are started in another way")
		}
		defer Profile("worker")()
		return s.Worker()
	case "hold":
		return hold(s, args[1:])
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	switch args[0] {
	case "describe":
		return printJSON(Description{Name: s.Name, Config: s.Config, Orphan: s.Orphan, Attach: s.Attach != nil})
	case "driver":
		defer Profile("driver")()
		return drive(ctx, s, args[1:])
	case "cli":
		return cli(ctx, s, args[1:])
	}
	return fmt.Errorf("unknown role %q", args[0])
}

// printJSON prints v in one line.
func printJSON(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }
