package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/report"
)

// bench is one run of the benchmark.
type bench struct {
	*settings
	scratch  string // a directory for all that is written, with a short name
	mark     string // in the environment of every process that is started
	env      []string
	profiles string // an absolute path, "" for no profiles
	programs []*program
	results  *report.Results
}

// measure measures everything that was asked for. Nothing that it started is
// left when it returns.
func measure(ctx context.Context, s *settings) (_ *report.Results, err error) {
	picked, err := pick("system", contestants, func(c contestant) string { return c.name }, s.systems)
	if err != nil {
		return nil, err
	}
	todo, err := pick("section", sections, func(s section) string { return s.name }, s.sections)
	if err != nil {
		return nil, err
	}
	if s.runs < 1 || s.procs < 1 {
		return nil, errors.New("-runs and -procs are at least 1")
	}
	b, err := newBench(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.build(ctx, picked); err != nil {
		return nil, err
	}
	for _, section := range todo {
		if err := b.section(ctx, section); err != nil {
			return b.results, fmt.Errorf("stopped in section %s, before its end: %w", section.name, err)
		}
	}
	return b.results, nil
}

func newBench(ctx context.Context, s *settings) (*bench, error) {
	profiles, err := profileDir(s.cpuprofile)
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	b := &bench{settings: s, scratch: scratch, mark: "UNREF_BENCH=" + rand.Text(), profiles: profiles}
	b.env = append(os.Environ(), b.mark, "GOMAXPROCS="+strconv.Itoa(s.procs),
		"TMPDIR="+filepath.Join(scratch, "t"), "UNREF_RUNTIME_DIR="+filepath.Join(scratch, "r"))
	b.results = &report.Results{Environment: environment(ctx, s)}
	for _, dir := range []string{"t", "r"} {
		if err := os.Mkdir(filepath.Join(scratch, dir), 0o700); err != nil {
			return nil, errors.Join(err, os.RemoveAll(scratch))
		}
	}
	return b, nil
}

// profileDir makes the directory for profiles, if there are to be some, and
// returns its path.
func profileDir(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	return path, os.MkdirAll(path, 0o755)
}

// close ends what still runs and removes what was written.
func (b *bench) close() error {
	b.sweep()
	return os.RemoveAll(b.scratch)
}

// logf says on standard error how it is going.
func (b *bench) logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// environment returns where and how it is measured.
func environment(ctx context.Context, s *settings) report.Environment {
	e := report.Environment{
		Date:    time.Now().Format(time.DateOnly),
		Command: strings.Join(append([]string{"go run ."}, os.Args[1:]...), " "),
		CPU:     "unknown CPU",
		Cores:   runtime.NumCPU(),
		Kernel:  "unknown kernel",
		Go:      runtime.Version(),
		Procs:   s.procs,
		Runs:    s.runs,
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		e.Kernel = "Linux " + strings.TrimSpace(string(release))
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		e.Load, _, _ = strings.Cut(string(load), " ")
	}
	if info, err := harness.ReadProc("/proc/cpuinfo"); err == nil {
		e.CPU = cmp.Or(info["model name"], e.CPU)
	}
	if commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").Output(); err == nil {
		e.Commit = strings.TrimSpace(string(commit))
	}
	if version, err := exec.CommandContext(ctx, "node", "--version").Output(); err == nil {
		e.Node = strings.TrimSpace(string(version))
	}
	return e
}
