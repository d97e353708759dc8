package typecheck

import (
	"context"
	"slices"
	"strings"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// runCgo replaces the files of those targets that import "C" by what cgo makes of them. The go command keeps that in its
// build cache, so that it costs little but the first time. Positions in it are those of the original files.
func runCgo(ctx context.Context, req api.PlanRequest, packages []listed) error {
	byID := make(map[string]*listed)
	var paths []string
	for i := range packages {
		if p := &packages[i]; p.target() && len(p.CgoFiles) > 0 && p.Error == nil && p.path() != "command-line-arguments" {
			byID[p.ImportPath] = p
			paths = append(paths, strings.TrimSuffix(p.path(), "_test"))
		}
	}
	if len(paths) == 0 {
		return nil
	}
	slices.Sort(paths)
	req.Patterns = slices.Compact(paths)
	made, err := list(ctx, req, "-compiled", "-json=ImportPath,Name,CompiledGoFiles,Imports,Error")
	if err != nil {
		return err
	}
	for i := range made {
		if p := byID[made[i].ImportPath]; p != nil {
			p.CompiledGoFiles, p.Imports, p.Error = made[i].CompiledGoFiles, made[i].Imports, made[i].Error
		}
	}
	return nil
}
