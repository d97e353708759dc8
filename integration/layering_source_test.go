package integration_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// root is the module's folder, seen from here.
const root = ".."

// source is one Go file of the module.
type source struct {
	name string // relative to the module's folder, with slashes
	text []byte
	fset *token.FileSet
	ast  *ast.File
}

func (s source) position(node ast.Node) token.Position {
	p := s.fset.Position(node.Pos())
	p.Filename = s.name
	return p
}

func (s source) lines() int { return bytes.Count(s.text, []byte("\n")) }

func (s source) isTest() bool { return strings.HasSuffix(s.name, "_test.go") }

// isLibrary is whether the file is part of what other programs import.
func (s source) isLibrary() bool {
	folder, _, _ := strings.Cut(s.name, "/")
	switch folder {
	case "transport", "lifecycle", "server", "client":
		return !s.isTest()
	}
	return false
}

var parsed = sync.OnceValues(parseSources)

// sources returns all Go files of the module, for every system.
func sources(t *testing.T) []source {
	t.Helper()
	files, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func parseSources() ([]source, error) {
	var files []source
	err := walk(".go", func(name string) error {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		files = append(files, source{filepath.ToSlash(name), text, fset, file})
		return err
	})
	return files, err
}

// walk visits the module's files with this suffix, but neither hidden folders, nor test data, nor other modules.
func walk(suffix string, visit func(name string) error) error {
	return filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && relative != "." && isForeign(name, entry.Name()):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(name, suffix):
			return nil
		}
		return visit(relative)
	})
}

func isForeign(folder, name string) bool {
	_, err := os.Stat(filepath.Join(folder, "go.mod"))
	return err == nil || name == "testdata" || strings.HasPrefix(name, ".")
}
