package typecheck

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// snapshot is everything that a package graph was made from, in the state that it had.
type snapshot struct {
	seen   []watched
	reason string // why nothing can be said of the state, and `go list` must run in any case; empty mostly
}

// watched is one thing that a package graph was made from.
type watched struct {
	aspect aspect
	path   string
	state  sum // zero if there is nothing at the path
}

// aspect is what counts of a file or directory.
type aspect string

const (
	content   aspect = "content"   // of a file
	header    aspect = "header"    // of a Go file: see headerSum
	listing   aspect = "listing"   // the names in a directory that the go command looks at
	existence aspect = "existence" // whether there is something
)

// look returns the state now.
func (w *watched) look(known *memo[sum]) (sum, error) {
	state, err := known.get(string(w.aspect)+":"+w.path, w.path, func(*sum) (sum, error) { return w.compute() })
	if errors.Is(err, fs.ErrNotExist) {
		return sum{}, nil
	}
	return state, err
}

func (w *watched) compute() (sum, error) {
	switch w.aspect {
	case header:
		return headerSum(w.path)
	case listing:
		return listingSum(w.path)
	case existence:
		return sum{1}, nil
	}
	text, err := os.ReadFile(w.path)
	return sha256.Sum256(text), err
}

// listingSum returns the sum of the names in a directory, without those that the go command ignores.
func listingSum(dir string) (sum, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return sum{}, err
	}
	h := sha256.New()
	for _, entry := range entries {
		if !ignored(entry.Name()) {
			writeField(h, entry.Name())
			writeField(h, entry.Type().String())
		}
	}
	return sum(h.Sum(nil)), nil
}

// ignored reports whether the go command ignores files and directories of this name.
func ignored(name string) bool { return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") }

// compare returns what has changed, as the reason of a plan; empty means nothing.
func (s *snapshot) compare(ctx context.Context, known *memo[sum]) (string, error) {
	if s.reason != "" {
		return s.reason, nil
	}
	changed := make([]bool, len(s.seen))
	err := each(ctx, len(s.seen), func(i int) error {
		state, err := s.seen[i].look(known)
		changed[i] = err != nil || state != s.seen[i].state
		return nil
	})
	if err != nil {
		return "", err
	}
	if i := slices.Index(changed, true); i >= 0 {
		return "changed: " + s.seen[i].path, nil
	}
	return "", nil
}

// newSnapshot records what a list of packages, which was made since start, relies on.
func newSnapshot(ctx context.Context, known *memo[sum], start time.Time, req api.PlanRequest, env goEnv, packages []listed) (snapshot, error) {
	if reason := unwatchable(env, packages); reason != "" {
		return snapshot{reason: reason}, nil
	}
	s := snapshot{seen: collect(req, env, packages)}
	late := make([]bool, len(s.seen))
	err := each(ctx, len(s.seen), func(i int) error {
		w := &s.seen[i]
		state, err := w.look(known)
		w.state = state
		gone := state == (sum{}) && (w.aspect == header || w.aspect == existence)
		// The go command sets the time of files in its cache when it uses them.
		touched := w.aspect != existence && changedSince(w.path, start)
		late[i] = err != nil || gone || touched
		return nil
	})
	if i := slices.Index(late, true); i >= 0 {
		return snapshot{reason: "changed: " + s.seen[i].path}, err
	}
	return s, err
}

// unwatchable returns a reason why a list of packages can't be used again.
func unwatchable(env goEnv, packages []listed) string {
	if strings.Contains(env.GOFLAGS, "-modfile") || strings.Contains(env.GOFLAGS, "-overlay") {
		return "GOFLAGS=" + env.GOFLAGS
	}
	for i := range packages {
		p := &packages[i]
		if p.Error != nil {
			return "errors: " + p.ImportPath
		}
		if !p.standard(env) && p.Module == nil && !p.testMain() {
			return "no module: " + p.ImportPath
		}
	}
	return ""
}

// changedSince reports whether a path may have changed at or after a time, or is so new that the order can't be told.
func changedSince(path string, start time.Time) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	attr := attributesOf(info)
	return !stamp{attr, start}.proves(attr)
}

// collect returns the things that a list of packages relies on, each once.
func collect(req api.PlanRequest, env goEnv, packages []listed) []watched {
	c := collector{}
	for _, path := range []string{env.GOENV, env.GOWORK, filepath.Join(env.GOROOT, "VERSION")} {
		c.add(content, path)
	}
	if env.GOWORK != "" && env.GOWORK != "off" {
		c.add(content, strings.TrimSuffix(env.GOWORK, ".work")+".work.sum")
	}
	for dir := req.Dir; ; dir = filepath.Dir(dir) {
		c.add(content, filepath.Join(dir, "go.mod"))
		c.add(content, filepath.Join(dir, "go.work"))
		if dir == filepath.Dir(dir) {
			break
		}
	}
	all := slices.ContainsFunc(req.Patterns, recursive)
	roots := make(map[string]bool)
	if within(env.GOMOD, env.GOROOT) { // the packages there say nothing of their module
		c.addModule(filepath.Dir(env.GOMOD), env.GOMOD, all)
	}
	for i := range packages {
		p := &packages[i]
		for _, name := range p.CompiledGoFiles {
			c.add(existence, inDir(p.Dir, name))
		}
		if p.fixed(env) || p.testMain() {
			continue
		}
		c.addPackage(p)
		if p.Module != nil && p.Module.Dir != "" && !roots[p.Module.Dir] {
			roots[p.Module.Dir] = true
			c.addModule(p.Module.Dir, p.Module.GoMod, all)
		}
	}
	return c.list()
}

// collector gathers things to watch.
type collector map[watched]bool

func (c collector) add(a aspect, path string) {
	if filepath.IsAbs(path) {
		c[watched{aspect: a, path: path}] = true
	}
}

// addPackage adds what is watched of a package that can change.
func (c collector) addPackage(p *listed) {
	c.add(listing, p.Dir)
	for _, name := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles) {
		c.add(header, inDir(p.Dir, name))
	}
	if len(p.CompiledGoFiles) > 0 {
		for _, name := range slices.Concat(p.CgoFiles, p.HFiles) {
			c.add(content, inDir(p.Dir, name))
		}
	}
	for _, name := range p.EmbedFiles {
		c.add(existence, inDir(p.Dir, name))
	}
}

// addModule adds what is watched of a module that can change, and all its directories if packages may appear there.
func (c collector) addModule(dir, goMod string, all bool) {
	c.add(content, goMod)
	c.add(content, strings.TrimSuffix(goMod, ".mod")+".sum")
	c.add(content, filepath.Join(dir, "vendor", "modules.txt"))
	if !all {
		return
	}
	// What can't be read the go command can't read either.
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		if path != dir && (ignored(d.Name()) || d.Name() == "testdata" || d.Name() == "vendor") {
			return fs.SkipDir
		}
		c.add(listing, path)
		if _, err := os.Stat(filepath.Join(path, "go.mod")); path != dir && err == nil {
			return fs.SkipDir
		}
		return nil
	})
}

// list returns what was gathered, by path.
func (c collector) list() []watched {
	list := make([]watched, 0, len(c))
	for w := range c {
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b watched) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.aspect, b.aspect))
	})
	return list
}
