package typecheck

import (
	"context"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strings"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// check gives a node the export and the result that are wanted, and reports whether it did: it does not if ctx ends.
func (r *run) check(ctx context.Context, n *node, culprit string) bool {
	switch {
	case ctx.Err() != nil:
		return false
	case culprit != "":
		n.settle(&export{culprit: culprit}, &result{skippedFor: culprit})
		return true
	case len(n.pkg.Errors) > 0:
		list := findings{list: n.pkg.Errors}
		n.settle(&export{culprit: n.pkg.ID, findings: list}, &result{findings: list})
		return true
	}
	files, ok := r.parse(ctx, n)
	if !ok {
		return false
	}
	checked := r.checkFiles(n, files)
	made := &export{types: checked.types, findings: checked.findings, height: n.height}
	for _, p := range files {
		made.size += p.size
	}
	if checked.broken {
		made.types, made.culprit = nil, n.pkg.ID
	}
	n.settle(made, &result{findings: checked.findings})
	return true
}

// settle stores what a check told. What others can see is not replaced if it is known, since other packages were made
// from it, and not kept if nobody imports it.
func (n *node) settle(made *export, told *result) {
	if n.export == nil && n.imported {
		n.export = made
	}
	if n.wantResult {
		n.result = told
	}
}

// parse returns a node's files and reports false if ctx has ended.
func (r *run) parse(ctx context.Context, n *node) ([]parsed, bool) {
	files := make([]parsed, len(n.pkg.Files))
	err := each(ctx, len(files), func(i int) error {
		path := inDir(n.pkg.Dir, n.pkg.Files[i])
		p, ok := r.take(path)
		if !ok {
			p = parse(r.fset, path)
			r.confirm(n, path, p)
		}
		files[i] = p
		return nil
	})
	return files, err == nil
}

// take returns a file that was parsed before.
func (r *run) take(path string) (parsed, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.files[path]
	return p, ok
}

// confirm notes if a file that was parsed now is not the one that the node's keys were made from.
func (r *run) confirm(n *node, path string, p parsed) {
	if n.pkg.Fixed {
		return
	}
	known, ok := r.checker.sources.load(path)
	readable := p.file != nil
	if ok == readable && known.value.content == p.content {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stale = true
}

// checked is what a check of one package told.
type checked struct {
	types    *types.Package
	findings findings
	broken   bool // there are errors that others can see
}

// checkFiles checks a package.
func (r *run) checkFiles(n *node, files []parsed) checked {
	c := &collected{fset: r.fset, dir: r.config.Dir, pkgDir: n.pkg.Dir}
	syntax := make([]*ast.File, 0, len(files))
	for i, p := range files {
		if p.file != nil {
			syntax = append(syntax, p.file)
		}
		if p.err != nil {
			c.addSyntax(inDir(n.pkg.Dir, n.pkg.Files[i]), p.err)
		}
	}
	if len(c.errs) > 0 {
		return checked{findings: c.findings(), broken: true}
	}
	made := r.typeCheck(n, syntax, c)
	return checked{types: made, findings: c.findings(), broken: c.visible(syntax)}
}

// typeCheck runs go/types, and makes a diagnostic of it if that panics.
func (r *run) typeCheck(n *node, files []*ast.File, c *collected) (made *types.Package) {
	defer func() {
		if v := recover(); v != nil {
			c.errs = append(c.errs, collectedError{message: fmt.Sprintf("internal error: type checking %s: %v", n.pkg.ID, v)})
		}
	}()
	config := types.Config{
		GoVersion:        n.pkg.GoVersion,
		FakeImportC:      n.pkg.Cgo,
		IgnoreFuncBodies: !n.wantResult,
		Importer:         importer{n},
		Sizes:            r.sizes,
		Error:            c.addType,
	}
	if n.pkg.Cgo {
		config.Error = c.addUnlessInvalid
	}
	if n.pkg.Path == "unsafe" {
		return types.Unsafe
	}
	made, _ = config.Check(n.pkg.Path, r.fset, files, nil) // the error is the first of those that were collected
	return made
}

// visible reports whether there are errors that change what others can see of the package: such as are not in the body
// of a function and are more than remarks, like that of an unused import.
func (c *collected) visible(files []*ast.File) bool {
	for _, e := range c.errs {
		if !e.soft && !strings.HasPrefix(e.message, "initialization cycle") && !inBody(files, e.pos) {
			return true
		}
	}
	return false
}

// inBody reports whether a position is in the body of a function.
func inBody(files []*ast.File, pos token.Pos) bool {
	for _, file := range files {
		if pos < file.FileStart || pos > file.FileEnd {
			continue
		}
		for _, body := range bodies(file) {
			if body.Pos() <= pos && pos <= body.End() {
				return true
			}
		}
	}
	return false
}

// findings are the errors in a package.
type findings struct {
	list    []api.Diagnostic
	dropped int
}
