package typecheck

import (
	"context"
	"encoding/json"
	"fmt"
	"go/version"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// plan is an answer with what it relies on.
type plan struct {
	reply    api.PlanReply
	snapshot snapshot
	used     int // Checker.clock at the last use
}

// maxPlans bounds the number of plans that are kept.
const maxPlans = 16

// Plan returns the package graph. An earlier answer to the same request is given again, without running `go list`, if
// nothing has changed that it relies on: module, workspace and vendoring files, those that could appear in the directories
// above, the names in the directories of packages that can change and, where a pattern has "...", in all directories of
// their modules, the headers of Go files, and the existence of embedded files. An answer with errors is never given again.
//
// An unusable request is a [*RequestError]; what is wrong with packages is found in their Errors. The reply shares memory
// with later ones and must not be changed.
func (c *Checker) Plan(ctx context.Context, req api.PlanRequest) (api.PlanReply, error) {
	if err := c.planning.take(ctx); err != nil {
		return api.PlanReply{}, err
	}
	defer c.planning.leave()
	start := time.Now()
	reply, err := c.plan(ctx, req)
	if err != nil {
		return api.PlanReply{}, err
	}
	reply.Elapsed = time.Since(start)
	return reply, nil
}

// plan answers from memory or asks the go command.
func (c *Checker) plan(ctx context.Context, req api.PlanRequest) (api.PlanReply, error) {
	if len(req.Patterns) == 0 {
		req.Patterns = []string{"."}
	}
	if err := usable(req.Dir); err != nil {
		return api.PlanReply{}, err
	}
	key, err := planKey(req)
	if err != nil {
		return api.PlanReply{}, err
	}
	c.clock++
	reason := "first"
	if known := c.plans[key]; known != nil {
		reason, err = known.snapshot.compare(ctx, &c.watched)
		if err != nil {
			return api.PlanReply{}, err
		}
		if reason == "" {
			known.used = c.clock
			return known.reply, nil
		}
	}
	made, err := c.newPlan(ctx, req)
	if err != nil {
		delete(c.plans, key)
		return api.PlanReply{}, err
	}
	c.keepPlan(key, made)
	reply := made.reply
	reply.Listed, reply.Reason = true, reason
	return reply, nil
}

// usable returns an error if dir is no directory that the go command can be run in.
func usable(dir string) error {
	if !filepath.IsAbs(dir) {
		return &RequestError{fmt.Sprintf("directory %q is not absolute", dir)}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return &RequestError{err.Error()}
	}
	if !info.IsDir() {
		return &RequestError{dir + " is not a directory"}
	}
	return nil
}

// planKey returns the request and the go command that it is for.
func planKey(req api.PlanRequest) (string, error) {
	goPath, err := exec.LookPath("go")
	if err != nil {
		return "", &RequestError{err.Error()}
	}
	text, err := json.Marshal(req)
	return goPath + string(text), err
}

// newPlan asks the go command.
func (c *Checker) newPlan(ctx context.Context, req api.PlanRequest) (*plan, error) {
	start := time.Now()
	env, err := environment(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := supported(env); err != nil {
		return nil, err
	}
	packages, err := list(ctx, req, "-deps", listFields)
	if err != nil {
		return nil, err
	}
	if err := runCgo(ctx, req, packages); err != nil {
		return nil, err
	}
	p := &plan{reply: api.PlanReply{
		Config:   api.Config{Dir: req.Dir, GOARCH: env.GOARCH, Toolchain: env.GOVERSION + " " + env.GOROOT},
		Packages: convert(packages, env),
	}}
	p.snapshot, err = newSnapshot(ctx, &c.watched, start, req, env, packages)
	return p, err
}

// supported returns an error if there is no standard library for the system and the architecture, or if it is newer than
// the language that this process knows.
func supported(env goEnv) error {
	theirs, ours := version.Lang(env.GOVERSION), version.Lang(runtime.Version())
	if theirs != "" && ours != "" && version.Compare(theirs, ours) > 0 {
		return &RequestError{fmt.Sprintf("the go command is %s, and this worker was built with %s: build it again with %s",
			env.GOVERSION, runtime.Version(), env.GOVERSION)}
	}
	for _, name := range []string{"goos/zgoos_" + env.GOOS, "goarch/zgoarch_" + env.GOARCH} {
		file := filepath.Join(env.GOROOT, "src", "internal", filepath.FromSlash(name)+".go")
		if _, err := os.Stat(file); err != nil {
			return &RequestError{fmt.Sprintf("unsupported GOOS/GOARCH pair %s/%s", env.GOOS, env.GOARCH)}
		}
	}
	return nil
}

// keepPlan keeps a plan, and drops the one that was not used for longest where there are too many.
func (c *Checker) keepPlan(key string, p *plan) {
	if c.plans == nil {
		c.plans = make(map[string]*plan)
	}
	p.used = c.clock
	c.plans[key] = p
	if len(c.plans) > maxPlans {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(c.plans)), func(a, b string) int {
			return c.plans[a].used - c.plans[b].used
		})
		delete(c.plans, oldest)
	}
}

// convert makes the packages of the reply.
func convert(packages []listed, env goEnv) []api.Package {
	tested := make(map[string]bool)
	for i := range packages {
		if p := &packages[i]; p.ForTest != "" && p.path() == p.ForTest {
			tested[p.ForTest] = true
		}
	}
	list := make([]api.Package, 0, len(packages))
	for i := range packages {
		p := &packages[i]
		if p.testMain() {
			continue
		}
		made := p.convert(env)
		made.Target = p.target() && !tested[p.ImportPath]
		if made.Target {
			made.Bytes = totalSize(made.Dir, made.Files)
		}
		list = append(list, made)
	}
	return list
}

// convert makes a package of the reply, without what depends on others.
func (p *listed) convert(env goEnv) api.Package {
	files := p.CompiledGoFiles
	if files == nil {
		files = slices.Sorted(slices.Values(slices.Concat(p.GoFiles, p.CgoFiles)))
	}
	return api.Package{
		ID:        p.ImportPath,
		Path:      p.path(),
		Name:      p.Name,
		Dir:       p.Dir,
		Files:     files,
		Imports:   slices.DeleteFunc(slices.Clone(p.Imports), func(id string) bool { return id == "C" }),
		ImportMap: p.ImportMap,
		GoVersion: p.goVersion(),
		Cgo:       len(p.CgoFiles) > 0 && p.CompiledGoFiles == nil,
		Fixed:     p.fixed(env),
		Errors:    p.diagnostics(),
	}
}

// totalSize returns the size of files; those that can't be found have none.
func totalSize(dir string, files []string) int64 {
	var total int64
	for _, name := range files {
		if info, err := os.Stat(inDir(dir, name)); err == nil {
			total += info.Size()
		}
	}
	return total
}

// inDir returns the path of a package's file.
func inDir(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// recursive reports whether a pattern can match packages that do not exist yet.
func recursive(pattern string) bool { return strings.Contains(pattern, "...") }
