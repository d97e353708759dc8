// Demo-parent type-checks Go packages in worker processes that stay warm from one run to the next, serves HTTP with a pool
// of workers that make images smaller, and shows what it is that workers guarantee. It is an example of the programs that
// use packages client and lifecycle, short-lived and long-lived, and a useful one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/detached-workers/unref/transport"
)

const usage = `Demo-parent checks Go packages in warm worker processes, and has others make images smaller for the web.

Usage:

	demo-parent check [flags] [packages]   type-check packages and print what is wrong
	demo-parent status [flags]             list the workers that checks have left for later ones
	demo-parent stop [flags]               end them
	demo-parent serve [flags]              serve HTTP with a pool of workers, which make images smaller
	demo-parent load [flags]               send such a server requests, and measure one worker against several
	demo-parent tour [flags]               show what workers guarantee, with real processes
	demo-parent help [command]             show this text or a command's

`

// The exit statuses.
const (
	exitFound     = 1   // diagnostics, or a guarantee that does not hold
	exitTrouble   = 2   // the command could not be run
	exitInterrupt = 130 // as shells report a program that was interrupted
	exitPipe      = 141 // as shells report a program that nobody reads from
)

// errFound is the outcome of a command that did its work and reported what it found wrong.
var errFound = errors.New("something is wrong, and was reported")

// command is a subcommand. It writes its product to stdout; everything else goes to stderr.
type command func(ctx context.Context, args []string, stdout io.Writer, stderr *os.File) error

var commands = map[string]command{
	"check":       runCheck,
	"status":      runStatus,
	"stop":        runStop,
	"serve":       runServe,
	"load":        runLoad,
	"tour":        runTour,
	ownerCommand:  runOwner,
	finderCommand: runFinder,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second interrupt ends the process at once
	// With somebody to take SIGPIPE, writing to a pipe that nobody reads is an error and not the end, which leaves time
	// for the workers and the progress bar to be cleared away.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	err := dispatch(ctx, os.Args[1:], os.Stdout, os.Stderr)
	os.Exit(exitStatus(ctx, err, os.Stderr))
}

// dispatch runs the command that the arguments name.
func dispatch(ctx context.Context, args []string, stdout io.Writer, stderr *os.File) error {
	if len(args) == 0 {
		return errors.New("no command given; see demo-parent help")
	}
	name, rest := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		if len(rest) == 0 {
			_, err := io.WriteString(stdout, usage)
			return err
		}
		name, rest = rest[0], []string{"-h"}
	}
	run, ok := commands[name]
	if !ok {
		return fmt.Errorf("unknown command %q; see demo-parent help", name)
	}
	return run(ctx, rest, stdout, stderr)
}

// exitStatus returns the status that stands for err, and says on stderr what is not known yet.
func exitStatus(ctx context.Context, err error, stderr io.Writer) int {
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case ctx.Err() != nil:
		return exitInterrupt
	case errors.Is(err, errFound):
		return exitFound
	case errors.Is(err, syscall.EPIPE):
		return exitPipe
	}
	_, _ = fmt.Fprintf(stderr, "demo-parent: %v\n", plain(err)) // nobody else could be told
	return exitTrouble
}

// plain returns an error in the words of the command line: what a worker said of an unusable request without those about
// the call, and a timeout with those that say how to set it.
func plain(err error) error {
	e, ok := errors.AsType[*transport.Error](err)
	switch {
	case ok && e.Code == transport.CodeInvalid:
		return errors.New(e.Message)
	case ok && e.Code == transport.CodeDeadline:
		return fmt.Errorf("%w (-timeout sets the limit)", err)
	}
	return err
}
