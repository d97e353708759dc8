package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/report"
)

// contestant is one row before its program is built.
type contestant struct {
	name   string
	module string // what its version is that of; "" for none
	script string // in systems/node; "" for a Go program in systems/NAME
	packed bool   // whether the script needs what npm installs
	most   int    // workers in one parent in the section scale; 0 for not in it
	calls  bool   // whether only its calls differ from those of another row
}

// contestants are in the order of the rows.
var contestants = []contestant{
	{name: report.Floor, most: 1000},
	{name: report.Unref, most: 1000},
	{name: "unref-struct", calls: true},
	{name: "raw-yamux", module: "github.com/hashicorp/yamux"},
	{name: "net-rpc"},
	{name: "go-plugin-netrpc", module: "github.com/hashicorp/go-plugin", most: 100},
	{name: "go-plugin-grpc", module: "github.com/hashicorp/go-plugin"},
	{name: "grpc-go", module: "google.golang.org/grpc"},
	{name: "ttrpc", module: "github.com/containerd/ttrpc"},
	{name: "drpc", module: "storj.io/drpc"},
	{name: "execrpc", module: "github.com/bep/execrpc"},
	{name: "node-fork", script: "fork.js"},
	{name: "jest-worker", script: "jest-worker.js", packed: true},
	{name: "tinypool", script: "tinypool.js", packed: true},
	{name: report.Hello},
}

// program is a contestant that can be run.
type program struct {
	contestant
	argv []string
	desc harness.Description
}

// command returns what starts the program in a role.
func (p *program) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, p.argv[0], slices.Concat(p.argv[1:], args)...)
}

// isHello is whether the program is none of the systems, and plays no roles.
func (p *program) isHello() bool { return p.name == report.Hello }

// build makes programs of contestants. Those in other languages are left out,
// with a remark, where what they need is not installed.
func (b *bench) build(ctx context.Context, picked []contestant) error {
	if err := b.buildGo(ctx, picked); err != nil {
		return err
	}
	for _, c := range picked {
		p := &program{contestant: c, argv: []string{b.binary(c.name)}}
		if c.script != "" {
			argv, err := b.node(ctx, c)
			if err != nil {
				b.logf("%s is left out: %v", c.name, err)
				continue
			}
			p.argv = argv
		}
		if err := b.describe(ctx, p); err != nil {
			return err
		}
		b.programs = append(b.programs, p)
	}
	return nil
}

func (b *bench) binary(name string) string { return filepath.Join(b.scratch, "bin", name) }

// buildGo builds all Go programs at once, and the floor's besides, which also
// measures the start of hello. They are linked statically, as releases of Go
// programs mostly are: to load the C library costs each start half a
// millisecond.
func (b *bench) buildGo(ctx context.Context, picked []contestant) error {
	args := []string{"build", "-o", b.binary("") + "/"}
	if b.profiles != "" {
		args = append(args, "-tags=profile")
	}
	args = append(args, "./systems/"+report.Floor)
	for _, c := range picked {
		if c.script == "" && c.name != report.Floor {
			args = append(args, "./systems/"+c.name)
		}
	}
	if err := os.MkdirAll(b.binary(""), 0o755); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", args...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	return run(build)
}

// node returns the command line of a script. Packages are installed into the
// scratch directory, so that the source tree stays as it is.
func (b *bench) node(ctx context.Context, c contestant) ([]string, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.scratch, "node")
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := os.CopyFS(dir, os.DirFS(filepath.Join("systems", "node"))); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); c.packed && errors.Is(err, os.ErrNotExist) {
		npm := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund")
		npm.Dir = dir
		if err := run(npm); err != nil {
			return nil, err
		}
	}
	return []string{node, filepath.Join(dir, c.script)}, nil
}

// run runs a tool. Its output is in the error, if there is one.
func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// describe asks a program what it is and puts that into the results.
func (b *bench) describe(ctx context.Context, p *program) error {
	p.desc = harness.Description{Name: p.name, Config: "a Go program that prints one line, started and waited for"}
	if !p.isHello() {
		if err := b.play(ctx, p, &p.desc, "describe"); err != nil {
			return err
		}
	}
	s := report.System{Name: p.name, Config: p.desc.Config, Version: p.desc.Version}
	if p.desc.Orphan != "" {
		s.Config += "; orphans " + p.desc.Orphan
	}
	if p.script == "" {
		info, err := buildinfo.ReadFile(p.argv[0])
		if err != nil {
			return err
		}
		s.Modules = make(map[string]string)
		for _, dep := range info.Deps {
			s.Modules[dep.Path] = dep.Version
		}
		if v := s.Modules[p.module]; v != "" {
			s.Version = p.module + " " + v
		}
	}
	b.results.Systems = append(b.results.Systems, s)
	return nil
}
