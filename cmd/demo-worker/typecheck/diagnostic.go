package typecheck

import (
	"cmp"
	"errors"
	"go/scanner"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// maxDiagnostics bounds the diagnostics of one package.
const maxDiagnostics = 200

// collected are the errors of one package while it is checked.
type collected struct {
	fset   *token.FileSet
	dir    string // that positions are relative to
	pkgDir string
	errs   []collectedError
}

type collectedError struct {
	pos      token.Pos // not set for syntax errors
	position token.Position
	message  string
	soft     bool
}

// addSyntax adds what the parser says of a file. After an error it may lose count of braces and then miss one at the end
// of the file: of that only the first error speaks.
func (c *collected) addSyntax(path string, err error) {
	list, ok := errors.AsType[scanner.ErrorList](err)
	if !ok {
		c.errs = append(c.errs, collectedError{position: token.Position{Filename: path}, message: err.Error()})
	}
	for i, e := range list {
		if i > 0 && strings.HasSuffix(e.Msg, "found 'EOF'") {
			continue
		}
		c.errs = append(c.errs, collectedError{position: e.Pos, message: e.Msg})
	}
}

// addType adds what the type checker says. Errors whose text begins with a tab belong to the one before.
func (c *collected) addType(err error) {
	e, ok := errors.AsType[types.Error](err)
	if !ok {
		c.errs = append(c.errs, collectedError{message: err.Error()})
		return
	}
	position := c.fset.Position(e.Pos)
	if more, ok := strings.CutPrefix(e.Msg, "\t"); ok && len(c.errs) > 0 {
		last := &c.errs[len(c.errs)-1]
		last.message += "\n\t" + c.where(position) + more
		return
	}
	c.errs = append(c.errs, collectedError{e.Pos, position, e.Msg, e.Soft})
}

// addUnlessInvalid adds what the type checker says of a package that was not run through cgo, where the types of what
// comes from C are not known.
func (c *collected) addUnlessInvalid(err error) {
	if !strings.Contains(err.Error(), "invalid type") {
		c.addType(err)
	}
}

// where returns the position for a line that belongs to an error. Other packages' positions are left out: they are only
// known if those packages happen to be checked in the same run.
func (c *collected) where(p token.Position) string {
	if p.Line == 0 || filepath.Dir(p.Filename) != c.pkgDir {
		return ""
	}
	p.Filename = shorten(c.dir, p.Filename)
	return p.String() + ": "
}

// findings returns the errors in order, each once.
func (c *collected) findings() findings {
	prefix := strings.TrimSuffix(shorten(c.dir, filepath.Join(c.pkgDir, "x")), "x")
	list := make([]api.Diagnostic, 0, len(c.errs))
	for _, e := range c.errs {
		d := api.Diagnostic{Line: e.position.Line, Column: e.position.Column}
		d.Message = strings.ReplaceAll(e.message, c.pkgDir+string(filepath.Separator), prefix)
		if e.position.Filename != "" {
			d.File = shorten(c.dir, e.position.Filename)
		}
		list = append(list, d)
	}
	slices.SortStableFunc(list, func(a, b api.Diagnostic) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	list = slices.Compact(list)
	if len(list) <= maxDiagnostics {
		return findings{list: list}
	}
	return findings{list: slices.Clone(list[:maxDiagnostics]), dropped: len(list) - maxDiagnostics}
}

// shorten returns the path as the go command prints it: relative to dir, unless the absolute path is shorter.
func shorten(dir, path string) string {
	relative, err := filepath.Rel(dir, path)
	if err != nil || len(relative) >= len(path) {
		return path
	}
	return dotted(relative)
}

// dotted puts ./ before the plain name of a file.
func dotted(path string) string {
	if strings.ContainsRune(path, filepath.Separator) {
		return path
	}
	return "." + string(filepath.Separator) + path
}
