package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// checkOptions is what the command line of check says.
type checkOptions struct {
	patterns []string
	dir      string
	tags     string
	workers  int
	worker   string
	timeout  time.Duration
	repeat   int
	watch    bool
	json     bool
	verbose  bool
	fresh    bool
	idle     time.Duration
}

// parseCheck reads the command line of check. Help goes to stdout, and is [flag.ErrHelp].
func parseCheck(args []string, stdout io.Writer) (*checkOptions, error) {
	var o checkOptions
	f := newFlags("check", "[flags] [packages]", "Check type-checks the packages, by default the one in the current directory, as go vet does.\n"+
		"Unlike go build it accepts a missing function body, go:linkname without unsafe, and misuse of go:embed.\n"+
		"GOOS and GOARCH in the environment are obeyed. The workers stay for the next check of the same module, see\n"+
		"demo-parent status and demo-parent stop. The exit status is 0 if nothing is wrong, 1 if there are diagnostics,\n"+
		"and 2 if the packages could not be checked.")
	f.StringVar(&o.dir, "C", "", "check the packages as seen from `dir`")
	f.StringVar(&o.tags, "tags", "", "comma-separated `list` of build tags")
	f.IntVar(&o.workers, "j", min(4, runtime.NumCPU()), "share the work between `n` workers; one that dies is replaced, unless that happens six\ntimes in a row before a package is done")
	f.StringVar(&o.worker, "worker", "", "the worker's `program`; by default demo-worker is found or built")
	f.DurationVar(&o.timeout, "timeout", 2*time.Minute, "give up when a worker says nothing for so long; 0 means never")
	f.IntVar(&o.repeat, "repeat", 1, "check `n` times")
	f.BoolVar(&o.watch, "watch", false, "check again whenever a file changes, until interrupted")
	f.BoolVar(&o.json, "json", false, "print one JSON object for each check")
	f.BoolVar(&o.verbose, "v", false, "show each package, which workers are used and why, and what they log")
	f.BoolVar(&o.fresh, "fresh", false, "start workers for this check only, which find nothing and leave nothing, and\nnever wait when different GOOS, GOARCH or tags are checked in turn")
	f.DurationVar(&o.idle, "idle", 10*time.Minute, "a worker that is started leaves when nobody has used it for so long")
	var err error
	if o.patterns, err = parseMixed(f, args, stdout); err != nil {
		return nil, err
	}
	return &o, o.validate()
}

// validate completes the options and refuses those that make no sense.
func (o *checkOptions) validate() error {
	switch {
	case o.workers < 1:
		return errors.New("check: -j must be at least 1")
	case o.repeat < 1:
		return errors.New("check: -repeat must be at least 1")
	case o.repeat > 1 && o.watch:
		return errors.New("check: -repeat and -watch exclude each other")
	case o.timeout < 0:
		return errors.New("check: -timeout must not be negative")
	case o.idle <= 0:
		return errors.New("check: -idle must be more than 0")
	}
	dir, err := absolute(o.dir)
	o.dir = dir
	return err
}

// absolute returns dir, or the current directory if it is empty, as an absolute path.
func absolute(dir string) (string, error) {
	if dir == "" {
		return os.Getwd()
	}
	return filepath.Abs(dir)
}

// plan returns the request for the packages.
func (o *checkOptions) plan() api.PlanRequest {
	return api.PlanRequest{
		Dir:      o.dir,
		Patterns: o.patterns,
		Tags:     o.tagList(),
		GOOS:     os.Getenv("GOOS"),
		GOARCH:   os.Getenv("GOARCH"),
	}
}

func (o *checkOptions) tagList() []string {
	return strings.FieldsFunc(o.tags, func(r rune) bool { return r == ',' || r == ' ' })
}

// newFlags returns the flags of a command, with its help.
func newFlags(name, synopsis, text string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.Usage = func() {
		_, _ = fmt.Fprintf(f.Output(), "Usage: %s\n\n%s\n", strings.TrimSpace("demo-parent "+name+" "+synopsis), text)
		if hasFlags(f) {
			_, _ = io.WriteString(f.Output(), "\nFlags:\n\n")
			f.PrintDefaults()
		}
	}
	return f
}

func hasFlags(f *flag.FlagSet) (has bool) {
	f.VisitAll(func(*flag.Flag) { has = true })
	return has
}

// parseMixed parses flags that may stand before, between and after other arguments, which it returns. After "--"
// everything is an argument.
func parseMixed(f *flag.FlagSet, args []string, stdout io.Writer) ([]string, error) {
	help := f.Usage
	f.Usage = func() {} // errors are reported by the caller, in one line
	f.SetOutput(io.Discard)
	var others []string
	for {
		err := f.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(stdout)
			help()
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w; see demo-parent %s -h", f.Name(), err, f.Name())
		}
		parsed := len(args) - f.NArg()
		if f.NArg() == 0 || parsed > 0 && args[parsed-1] == "--" {
			return append(others, f.Args()...), nil
		}
		others = append(others, f.Arg(0))
		args = f.Args()[1:]
	}
}

// parseAlone parses the flags of a command that takes nothing else.
func parseAlone(f *flag.FlagSet, args []string, stdout io.Writer) error {
	others, err := parseMixed(f, args, stdout)
	if err == nil && len(others) > 0 {
		err = fmt.Errorf("%s: unexpected argument %q", f.Name(), others[0])
	}
	return err
}
