package main

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

const (
	// pollEvery is the time between two looks at the files.
	pollEvery = 300 * time.Millisecond
	// clockSlack is how much the time of a file may lag behind the clock.
	clockSlack = 20 * time.Millisecond
	// maxNamed is the number of packages that are named in one line.
	maxNamed = 8
)

// watch checks, and again whenever something has changed, until ctx ends. A check that could not be run ends it only the
// first time; later on the files are probably being edited.
func (c *checker) watch(ctx context.Context, report *reporter) error {
	var seen *scene
	for {
		start := time.Now()
		r, err := c.round(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && seen == nil:
			return err
		case err != nil:
			c.display.Printf("could not check: %v", plain(err))
			seen = newScene(start, seen.paths)
		default:
			if err := c.show(report, r); err != nil {
				return err
			}
			seen = newScene(start, scenery(c.request, r.plan))
		}
		changed, err := seen.await(ctx)
		if err != nil {
			return err
		}
		c.display.Printf("changed: %s", several(changed, maxNamed))
	}
}

// show reports a round of a watch.
func (c *checker) show(report *reporter, r *result) error {
	if err := report.report(r); err != nil {
		return err
	}
	if r.round > 1 {
		again := "nothing"
		if ids := r.with(checked); len(ids) > 0 {
			again = several(ids, maxNamed)
		}
		c.display.Printf("checked again: %s", again)
	}
	c.summarize(r)
	return nil
}

// look is what a glance at a file or directory shows. The zero look is that of nothing.
type look struct {
	size    int64
	changed int64 // in nanoseconds since 1970
}

// scene is a set of files and directories, as they looked at a time.
type scene struct {
	paths []string
	looks []look
}

// newScene looks at the paths now. What may have changed since a time, when the check began that relied on it, is taken
// for changed.
func newScene(since time.Time, paths []string) *scene {
	s := &scene{paths: paths, looks: make([]look, len(paths))}
	from, to := since.Add(-clockSlack).UnixNano(), time.Now().Add(clockSlack).UnixNano()
	for i, path := range paths {
		s.looks[i] = lookAt(path)
		if changed := s.looks[i].changed; from <= changed && changed <= to {
			s.looks[i] = look{changed: -1}
		}
	}
	return s
}

func lookAt(path string) look {
	info, err := os.Stat(path)
	if err != nil {
		return look{}
	}
	return look{info.Size(), info.ModTime().UnixNano()}
}

// changes returns the paths that look different now.
func (s *scene) changes() []string {
	var changed []string
	for i, path := range s.paths {
		if lookAt(path) != s.looks[i] {
			changed = append(changed, path)
		}
	}
	return changed
}

// await returns what has changed as soon as something has.
func (s *scene) await(ctx context.Context) ([]string, error) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
			if changed := s.changes(); len(changed) > 0 {
				return changed, nil
			}
		}
	}
}

// scenery returns what a check of the plan relies on: the files and directories of all packages that can change, the
// module files, and the directories in which packages can appear.
func scenery(request api.PlanRequest, plan *api.PlanReply) []string {
	paths := directories(roots(request))
	for i := range plan.Packages {
		p := &plan.Packages[i]
		if p.Fixed {
			continue
		}
		paths = append(paths, p.Dir)
		for _, name := range p.Files {
			if !filepath.IsAbs(name) {
				name = filepath.Join(p.Dir, name)
			}
			paths = append(paths, name)
		}
	}
	paths = append(paths, moduleFiles(request.Dir)...)
	slices.Sort(paths)
	return slices.Compact(paths)
}

// moduleFiles returns the files that make dir a part of a module, where they are and where they could appear.
func moduleFiles(dir string) []string {
	var paths []string
	for {
		for _, name := range []string{"go.mod", "go.sum", "go.work", "go.work.sum"} {
			paths = append(paths, filepath.Join(dir, name))
		}
		if dir == filepath.Dir(dir) {
			return paths
		}
		dir = filepath.Dir(dir)
	}
}

// roots returns the directories below which packages can appear that the patterns match. Those of patterns that are no
// paths are taken to be below the request's own.
func roots(request api.PlanRequest) []string {
	var list []string
	for _, pattern := range request.Patterns {
		prefix, _, recursive := strings.Cut(pattern, "...")
		root := request.Dir
		switch prefix, _ = filepath.Split(filepath.FromSlash(prefix)); {
		case !recursive:
			continue
		case filepath.IsAbs(prefix):
			root = prefix
		case strings.HasPrefix(prefix, "."):
			root = filepath.Join(root, prefix)
		}
		list = append(list, root)
	}
	return list
}

// directories returns the directories at and below the roots in which packages can be.
func directories(roots []string) []string {
	var list []string
	for _, root := range roots {
		// What can't be read the go command can't read either.
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil
			}
			if path != root && hidden(d.Name()) {
				return fs.SkipDir
			}
			list = append(list, path)
			return nil
		})
	}
	return list
}

// hidden reports whether "..." does not match directories of this name.
func hidden(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "vendor"
}
