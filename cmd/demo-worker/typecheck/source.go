package typecheck

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"hash"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
)

// source is what is remembered of a file that can change.
type source struct {
	content sum // of the whole text
	decls   sum // of the text without the bodies of functions
	size    int64
}

// parsed is a file in the course of a run.
type parsed struct {
	file    *ast.File // nil if the file could not be read
	err     error     // syntax errors, or why it could not be read
	content sum
	size    int64
}

// parse reads and parses a file.
func parse(fset *token.FileSet, path string) parsed {
	text, err := os.ReadFile(path)
	if err != nil {
		return parsed{err: withoutPath(err)}
	}
	return parseText(fset, path, text)
}

func parseText(fset *token.FileSet, path string, text []byte) parsed {
	file, err := parser.ParseFile(fset, path, text, parser.SkipObjectResolution)
	return parsed{file: file, err: err, content: sha256.Sum256(text), size: int64(len(text))}
}

// withoutPath returns the reason in an error of package os, for a diagnostic that names the file itself.
func withoutPath(err error) error {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err
	}
	return err
}

// declSum returns the sum of the text without what is between the braces of functions. A file with syntax errors has no
// such parts.
func declSum(fset *token.FileSet, p parsed, text []byte) sum {
	if p.err != nil {
		return p.content
	}
	h := sha256.New()
	from := 0
	for _, body := range bodies(p.file) {
		to := fset.PositionFor(body.Lbrace, false).Offset + 1
		writeField(h, text[from:to])
		from = fset.PositionFor(body.Rbrace, false).Offset
	}
	writeField(h, text[from:])
	return sum(h.Sum(nil))
}

// bodies returns the bodies of a file's functions and of the function literals outside of functions, in order.
func bodies(file *ast.File) []*ast.BlockStmt {
	var list []*ast.BlockStmt
	for _, decl := range file.Decls {
		ast.Inspect(decl, func(n ast.Node) bool {
			body, ok := n.(*ast.BlockStmt)
			if ok {
				list = append(list, body)
			}
			return !ok
		})
	}
	return list
}

// headerSum returns the sum of what `go list` can see of a Go file: all up to the last import, and the lines that are
// directives, wherever they are. It is the sum of the whole text if the imports can't be parsed.
func headerSum(path string) (sum, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return sum{}, err
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, text, parser.ImportsOnly|parser.SkipObjectResolution)
	if err != nil {
		return sha256.Sum256(text), nil
	}
	end := file.Name.End()
	for _, decl := range file.Decls {
		end = decl.End()
	}
	offset := fset.PositionFor(end, false).Offset
	h := sha256.New()
	writeField(h, text[:offset])
	for line := range bytes.Lines(text[offset:]) {
		if line = bytes.TrimSpace(line); bytes.HasPrefix(line, []byte("//go:")) {
			writeField(h, line)
		}
	}
	return sum(h.Sum(nil)), nil
}

// writeField writes a part of what a sum is made from so that no two lists of parts are the same text.
func writeField[T string | []byte](h hash.Hash, part T) {
	var size [8]byte
	binary.LittleEndian.PutUint64(size[:], uint64(len(part)))
	h.Write(size[:])
	h.Write([]byte(part))
}

// each calls do with the numbers below n, on as many goroutines as there are CPUs, until all are done, one has failed or
// ctx ends. It returns the first error.
func each(ctx context.Context, n int, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
