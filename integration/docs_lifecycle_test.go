package integration_test

import (
	"go/ast"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const lifecycleDoc = "docs/lifecycle.md"

// launchers run the goroutines of others and are not counted themselves: those who call them are.
var launchers = []string{"transport.tasks.start"}

// The table of goroutines has one row for each place in the libraries that starts one, no fewer and no more.
func TestDocsListEveryGoroutine(t *testing.T) {
	started, listed := make(map[string]int), listedGoroutines(t)
	for _, file := range sources(t) {
		if !file.isLibrary() {
			continue
		}
		for _, decl := range functions(file) {
			if name := qualified(file, decl); !slices.Contains(launchers, name) {
				started[name] += launches(decl)
			}
		}
	}
	maps.DeleteFunc(started, func(_ string, n int) bool { return n == 0 })
	for name := range allKeys(started, listed) {
		if started[name] != listed[name] {
			t.Errorf("%s starts goroutines in %d places, and %s has %d rows for it", name, started[name], lifecycleDoc, listed[name])
		}
	}
}

// launches counts the places in a function that start a goroutine.
func launches(decl *ast.FuncDecl) int {
	n := 0
	for node := range ast.Preorder(decl.Body) {
		switch node := node.(type) {
		case *ast.GoStmt:
			n++
		case *ast.CallExpr:
			name := calledName(node.Fun)
			if strings.HasSuffix(name, ".Go") || strings.HasSuffix(name, "tasks.start") {
				n++
			}
		}
	}
	return n
}

var goroutineRow = regexp.MustCompile("(?m)^\\|[^|]*\\| `((?:transport|lifecycle|server|client)\\.[\\w.]+)` \\|")

func listedGoroutines(t *testing.T) map[string]int {
	t.Helper()
	listed := make(map[string]int)
	for _, row := range goroutineRow.FindAllStringSubmatch(document(t, lifecycleDoc), -1) {
		listed[row[1]]++
	}
	return listed
}

func allKeys(a, b map[string]int) map[string]bool {
	keys := make(map[string]bool)
	for key := range a {
		keys[key] = true
	}
	for key := range b {
		keys[key] = true
	}
	return keys
}

// A program's goroutine has an owner as well: a group that waits, or a comment on its line that says with what it ends.
func TestSourceGoroutinesOfProgramsHaveAnOwner(t *testing.T) {
	for _, file := range sources(t) {
		if !strings.HasPrefix(file.name, "cmd/") || file.isTest() {
			continue
		}
		lines := strings.Split(string(file.text), "\n")
		for node := range ast.Preorder(file.ast) {
			if start, ok := node.(*ast.GoStmt); ok {
				at := file.position(start)
				if !strings.Contains(lines[at.Line-1], "// ") {
					t.Errorf("%v: use sync.WaitGroup.Go, or say with what the goroutine ends", at)
				}
			}
		}
	}
}

var variable = regexp.MustCompile(`^UNREF_[A-Z_]+$`)

func TestDocsListEveryEnvironmentVariable(t *testing.T) {
	text := document(t, lifecycleDoc)
	for _, file := range sources(t) {
		if !file.isLibrary() {
			continue
		}
		for name := range texts(file) {
			if variable.MatchString(name) && !strings.Contains(text, "`"+name+"`") {
				t.Errorf("%s uses %s, which %s does not list", file.name, name, lifecycleDoc)
			}
		}
	}
}
