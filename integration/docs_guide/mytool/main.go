// Mytool is the tool of the guide: it counts words, and keeps a worker that remembers them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/integration/docs_guide/api"
)

func main() {
	serveIfWorker() // before anything else: in the worker it does not return
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "mytool:", err)
		os.Exit(1)
	}
}

// tool is what the command line says.
type tool struct {
	stdout, stderr io.Writer
	verbose        bool
	noDaemon       bool
	program        string // of the worker; empty means this one
	settings       api.Settings
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	t := &tool{stdout: stdout, stderr: stderr}
	f := flag.NewFlagSet("mytool", flag.ContinueOnError)
	f.SetOutput(io.Discard) // whoever calls says what is wrong, in one line
	f.BoolVar(&t.verbose, "v", false, "say which worker is used and why, and show its output")
	f.BoolVar(&t.noDaemon, "no-daemon", false, "do everything in this process")
	f.StringVar(&t.program, "worker", "", "use another `program` as the worker")
	f.IntVar(&t.settings.MinLength, "min", 0, "count only words of at least `n` bytes")
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		f.SetOutput(stdout)
		return help(f)
	}
	if err != nil {
		return err
	}
	if f.Arg(0) == "daemon" {
		return t.daemon(ctx, f.Arg(1))
	}
	dir, err := filepath.Abs(f.Arg(0))
	if err != nil {
		return err
	}
	reply, err := t.count(ctx, dir)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%d words in %d files (%d read)\n", reply.Words, reply.Files, reply.Read)
	return err
}

const usage = `Usage: mytool [flags] [directory]
       mytool [flags] daemon status|stop|log

Mytool counts the words in a directory's text files.

Flags:

`

func help(f *flag.FlagSet) error {
	_, err := io.WriteString(f.Output(), usage)
	f.PrintDefaults()
	return err
}

// logger returns what takes the output of workers while the tool works: nothing of it is part of what the tool prints.
func (t *tool) logger() *logrus.Logger {
	if t.verbose {
		return newLogger(t.stderr, logrus.InfoLevel)
	}
	return newLogger(t.stderr, logrus.WarnLevel)
}

func newLogger(out io.Writer, level logrus.Level) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(out)
	log.SetLevel(level)
	log.SetFormatter(&logrus.TextFormatter{DisableTimestamp: true, DisableColors: true})
	return log
}
