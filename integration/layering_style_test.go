package integration_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	maxFileLines = 500
	maxFuncLines = 70
)

// A longer file is more than one noun or one verb.
func TestSourceFilesAreShort(t *testing.T) {
	for _, file := range sources(t) {
		if n := file.lines(); n > maxFileLines {
			t.Errorf("%s has %d lines, limit %d: split it by what it is about", file.name, n, maxFileLines)
		}
	}
}

// A longer function cannot be seen at once.
func TestSourceFunctionsAreShort(t *testing.T) {
	for _, file := range sources(t) {
		for _, decl := range functions(file) {
			first, last := file.fset.Position(decl.Pos()).Line, file.fset.Position(decl.End()).Line
			if n := last - first + 1; n > maxFuncLines {
				t.Errorf("%v: %s has %d lines, limit %d", file.position(decl), decl.Name.Name, n, maxFuncLines)
			}
		}
	}
}

// The package's doc is what says how its parts belong together.
func TestSourcePackagesAreDocumented(t *testing.T) {
	documented := make(map[string]bool)
	for _, file := range sources(t) {
		folder := path.Dir(file.name)
		documented[folder] = documented[folder] || file.ast.Doc != nil || strings.HasSuffix(file.ast.Name.Name, "_test")
	}
	for folder, ok := range documented {
		if !ok {
			t.Errorf("package %s has no doc comment", folder)
		}
	}
}

// The comment is the contract: units, defaults, what zero means, concurrency, errors.
func TestSourceExportedNamesAreDocumented(t *testing.T) {
	for _, file := range sources(t) {
		if !file.isLibrary() {
			continue
		}
		for _, decl := range file.ast.Decls {
			for _, name := range undocumented(decl) {
				t.Errorf("%v: %s has no comment", file.position(name), name.Name)
			}
		}
	}
}

// undocumented returns the exported names that a declaration introduces without a comment.
func undocumented(decl ast.Decl) []*ast.Ident {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Doc == nil && decl.Name.IsExported() && !isWellKnown(decl) && receiverIsExported(decl) {
			return []*ast.Ident{decl.Name}
		}
	case *ast.GenDecl:
		var names []*ast.Ident
		for _, spec := range decl.Specs {
			names = append(names, undocumentedSpec(decl, spec)...)
		}
		return names
	}
	return nil
}

func undocumentedSpec(decl *ast.GenDecl, spec ast.Spec) []*ast.Ident {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if spec.Name.IsExported() && decl.Doc == nil && spec.Doc == nil {
			return []*ast.Ident{spec.Name}
		}
	case *ast.ValueSpec:
		if decl.Doc == nil && spec.Doc == nil && spec.Comment == nil {
			return slices.DeleteFunc(slices.Clone(spec.Names), func(n *ast.Ident) bool { return !n.IsExported() })
		}
	}
	return nil
}

// isWellKnown is whether a method's contract is that of an interface that everybody knows.
func isWellKnown(decl *ast.FuncDecl) bool {
	return decl.Recv != nil && slices.Contains([]string{"Error", "String", "Unwrap"}, decl.Name.Name)
}

func receiverIsExported(decl *ast.FuncDecl) bool {
	return decl.Recv == nil || ast.IsExported(receiver(decl))
}

// A library neither prints nor ends its host. Each place that does it is here with its reason.
var mayPrintOrExit = map[string]string{
	"server.Server.Main":    "is a program's main function",
	"lifecycle.Worker.Exit": "is the way in which a worker ends",
}

func TestSourceLibrariesNeitherPrintNorExit(t *testing.T) {
	for _, file := range sources(t) {
		if !file.isLibrary() {
			continue
		}
		for _, decl := range functions(file) {
			if mayPrintOrExit[qualified(file, decl)] != "" {
				continue
			}
			for _, call := range calls(decl.Body) {
				if printsOrExits(call.name) {
					t.Errorf("%v: %s is for programs; return an error, or use the logger that was handed in", file.position(call.node), call.name)
				}
			}
		}
	}
}

func printsOrExits(name string) bool {
	for _, prefix := range []string{"fmt.Print", "log.Print", "log.Fatal", "log.Panic", "os.Exit", "print", "println"} {
		if name == prefix || strings.Contains(prefix, ".") && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// A panic of a library is a programmer's error at registration, or a constant of its own that is wrong.
var mayPanic = map[string]string{
	"server.Mux.register": "two handlers for one method",
	"transport.must":      "options that are constants",
}

func TestSourceLibrariesDoNotPanic(t *testing.T) {
	for _, file := range sources(t) {
		if !file.isLibrary() {
			continue
		}
		for _, decl := range functions(file) {
			for _, call := range calls(decl.Body) {
				if call.name == "panic" && mayPanic[qualified(file, decl)] == "" {
					t.Errorf("%v: libraries return errors", file.position(call.node))
				}
			}
		}
	}
}

// A sleep in a test is a race that has not happened yet: wait for a condition with a deadline, or use testing/synctest.
// Tests that look at what does not happen have one helper per package, meanwhile, which says so.
func TestSourceTestsDoNotSleep(t *testing.T) {
	for _, file := range sources(t) {
		if !file.isTest() {
			continue
		}
		for _, decl := range functions(file) {
			if decl.Name.Name == "meanwhile" && decl.Recv == nil {
				continue
			}
			for _, sleep := range sleeps(decl) {
				t.Errorf("%v: a bare sleep", file.position(sleep))
			}
		}
	}
}

func TestSourceSleepsAreKnownInEveryForm(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "", `package p
func f() {
	time.Sleep(1)
	<-time.After(1)
	_ = <-time.After(1)
	select { case <-time.After(1): }
	for range 3 { time.Sleep(1) }
	for ; ; <-time.After(1) {}
}
func g() {
	for !cond() { time.Sleep(1) }
	select { case <-done: case <-time.After(1): }
	limit := time.After(1)
	select { case <-done: case <-limit: }
}`, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range functions(source{ast: file}) {
		if got, want := len(sleeps(decl)), map[string]int{"f": 6}[decl.Name.Name]; got != want {
			t.Errorf("%s: got %d sleeps, want %d", decl.Name.Name, got, want)
		}
	}
}

// A test that is skipped says what it is that this system cannot do.
func TestSourceSkippedTestsSayWhy(t *testing.T) {
	for _, file := range sources(t) {
		for _, decl := range functions(file) {
			for _, call := range calls(decl.Body) {
				_, method, _ := strings.Cut(call.name, ".")
				if file.isTest() && (method == "SkipNow" || method == "Skip" && len(call.node.Args) == 0) {
					t.Errorf("%v: skipped without a reason", file.position(call.node))
				}
			}
		}
	}
}

// A context in a struct outlives the operation that it bounds, so that a comment has to say why it is there.
func TestSourceContextsInStructsAreExplained(t *testing.T) {
	for _, file := range sources(t) {
		name := importName(file.ast, "context")
		if name == "" || file.isTest() {
			continue
		}
		ast.Inspect(file.ast, func(node ast.Node) bool {
			field, ok := node.(*ast.Field)
			if _, isStruct := node.(*ast.FuncType); isStruct {
				return false // parameters are where contexts belong
			}
			if ok && calledName(field.Type) == name+".Context" && field.Doc == nil && field.Comment == nil {
				t.Errorf("%v: a context in a struct without a comment that says why", file.position(field))
			}
			return true
		})
	}
}

var unfinished = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)

// What is unfinished is done or left out, and not written into the source.
func TestSourceHasNoReminders(t *testing.T) {
	for _, file := range sources(t) {
		for _, group := range file.ast.Comments {
			if found := unfinished.FindString(group.Text()); found != "" {
				t.Errorf("%v: %s", file.position(group), found)
			}
		}
	}
}

// An excuse that does not say why is none.
func TestSourceExcusesSayWhy(t *testing.T) {
	excuse := regexp.MustCompile(`//(nolint:\S+|lint:ignore \S+)(.*)`)
	for _, file := range sources(t) {
		for _, group := range file.ast.Comments {
			for _, comment := range group.List {
				if m := excuse.FindStringSubmatch(comment.Text); m != nil && len(strings.TrimSpace(m[2])) < 5 {
					t.Errorf("%v: %q does not say why", file.position(comment), comment.Text)
				}
			}
		}
	}
}
