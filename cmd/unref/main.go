// Unref is the operator's tool: it shows the workers of every program of this user, what they print and what they do,
// makes calls on them, and ends them. It uses packages client and lifecycle as any program can.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/detached-workers/unref/transport"
)

// The exit statuses.
const (
	exitOK        = 0
	exitNo        = 1   // it failed, or the answer is no
	exitUsage     = 2   // the command line is wrong
	exitInterrupt = 130 // as shells report a program that was interrupted
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.command()
	root.SetArgs(args)
	return a.status(ctx, root.ExecuteContext(ctx))
}

// errNo is the outcome of a command whose answer is no, and was printed.
var errNo = errors.New("the answer is no")

// failure is an error of a command that was understood. All others are about the command line.
type failure struct{ err error }

func (f failure) Error() string { return f.err.Error() }
func (f failure) Unwrap() error { return f.err }

// usageError is an error about the command line that only the command itself could find.
type usageError string

func (e usageError) Error() string { return string(e) }

// status returns the exit status that stands for err, and says on standard error what is not known yet.
func (a *app) status(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	_, failed := errors.AsType[failure](err)
	_, usage := errors.AsType[usageError](err)
	switch {
	case errors.Is(err, errNo):
		return exitNo
	case ctx.Err() != nil:
		return exitInterrupt
	case failed && !usage:
		a.complain(err)
		return exitNo
	}
	a.complain(fmt.Errorf("%s; see unref --help", strings.Join(strings.Fields(err.Error()), " ")))
	return exitUsage
}

// complain says on standard error what went wrong, with the details that came with it. Several errors stand in several lines.
func (a *app) complain(err error) {
	text := strings.TrimRight(err.Error(), "\n")
	if e, ok := errors.AsType[*transport.Error](err); ok && len(e.Details) > 0 {
		if details, err := decodeValue(e.Details); err == nil {
			text += fmt.Sprintf(" (%s)", details)
		}
	}
	for line := range strings.Lines(text) {
		_, _ = fmt.Fprintf(a.stderr, "unref: %s\n", strings.TrimRight(line, "\r\n")) // nobody else could be told
	}
}
