// Bench measures unref and what a user would pick instead, each in real
// processes, on the same work, in one run:
//
//	go run .
//
// It prints a report in Markdown, and writes all figures as JSON and some of
// them as charts. README.md says what is measured, and how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/detached-workers/unref/bench/report"
)

// settings are the flags.
type settings struct {
	systems, sections []string // empty means all
	runs, procs       int
	quick, list       bool
	json, svg, from   string // "" means not
	cpuprofile        string // a directory, "" means not
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := work(ctx, flags())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func flags() *settings {
	s := new(settings)
	list := func(into *[]string) func(string) error {
		return func(value string) error {
			*into = strings.Split(value, ",")
			return nil
		}
	}
	flag.Func("system", "measure these `systems` only, by name, with commas between", list(&s.systems))
	flag.Func("section", "measure these `sections` only, by name, with commas between", list(&s.sections))
	flag.IntVar(&s.runs, "runs", 7, "how often to measure; the median counts")
	flag.IntVar(&s.procs, "procs", 2, "GOMAXPROCS of each process")
	flag.BoolVar(&s.quick, "quick", false, "measure for a short time, for a first impression")
	flag.BoolVar(&s.list, "list", false, "list systems and sections, and measure nothing")
	flag.StringVar(&s.json, "json", "", "write all figures to this `file`; a full run writes "+fullJSON+" unless told otherwise")
	flag.StringVar(&s.svg, "svg", "", "write charts to this `directory`; a full run writes "+fullSVG+" unless told otherwise")
	flag.StringVar(&s.from, "from", "", "measure nothing, and report what is in this `file`")
	flag.StringVar(&s.cpuprofile, "cpuprofile", "", "write CPU profiles of parents and workers in Go to this `directory`")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: %q is no flag\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	s.whereTo()
	return s
}

// What a full run leaves behind. It is in the repository, so that a first
// impression must not overwrite it.
const (
	fullRuns = 7
	fullJSON = "results.json"
	fullSVG  = "charts"
)

// whereTo settles where the files of a full run go, if nobody has said.
func (s *settings) whereTo() {
	if s.quick || s.runs < fullRuns || s.from != "" || len(s.systems)+len(s.sections) > 0 {
		return
	}
	said := make(map[string]bool)
	flag.Visit(func(f *flag.Flag) { said[f.Name] = true })
	if !said["json"] {
		s.json = fullJSON
	}
	if !said["svg"] {
		s.svg = fullSVG
	}
}

func work(ctx context.Context, s *settings) error {
	if s.list {
		fmt.Println(listing())
		return nil
	}
	results, err := results(ctx, s)
	if results != nil {
		fmt.Print(report.Markdown(results))
	}
	if err != nil {
		return err
	}
	if s.json != "" {
		err = results.Write(s.json)
	}
	if s.svg != "" {
		err = errors.Join(err, writeCharts(s.svg, results))
	}
	if s.from == "" {
		err = errors.Join(err, failures(results))
	}
	return err
}

// failures says which systems could not be measured in a section.
func failures(r *report.Results) error {
	var errs []error
	for _, m := range r.Measurements {
		if why := m.Notes[""]; why != "" {
			errs = append(errs, fmt.Errorf("%s, section %s: %s", m.System, m.Section, why))
		}
	}
	return errors.Join(errs...)
}

// listing names everything that can be picked.
func listing() string {
	var b strings.Builder
	b.WriteString("systems:")
	for _, c := range contestants {
		b.WriteString(" " + c.name)
	}
	b.WriteString("\nsections:")
	for _, s := range sections {
		b.WriteString(" " + s.name)
	}
	return b.String()
}

// pick returns those of all things of a kind that have these names, all of them
// if there are no names.
func pick[T any](kind string, all []T, nameOf func(T) string, names []string) ([]T, error) {
	if len(names) == 0 {
		return all, nil
	}
	var picked []T
	for _, name := range names {
		i := slices.IndexFunc(all, func(t T) bool { return nameOf(t) == name })
		if i < 0 {
			return nil, fmt.Errorf("no %s %q; -list shows all", kind, name)
		}
		picked = append(picked, all[i])
	}
	return picked, nil
}

// results reads what was measured, or measures. When it is interrupted it
// returns what there is, and an error.
func results(ctx context.Context, s *settings) (*report.Results, error) {
	if s.from != "" {
		return report.Read(s.from)
	}
	if runtime.GOOS != "linux" {
		return nil, errors.New("it measures on Linux only; -from reports what was measured there")
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	return measure(ctx, s)
}

// writable finds out before it is measured whether its figures can be kept.
func (s *settings) writable() error {
	if s.json != "" {
		f, err := os.OpenFile(s.json, os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		f.Close()
	}
	if s.svg != "" {
		return os.MkdirAll(s.svg, 0o755)
	}
	return nil
}

func writeCharts(dir string, r *report.Results) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, svg := range report.Charts(r) {
		if err := os.WriteFile(filepath.Join(dir, name), svg, 0o644); err != nil {
			return err
		}
	}
	return nil
}
