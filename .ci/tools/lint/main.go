// Lint is the project's vet tool: the analyzers that go vet and staticcheck lack, run by
//
//	go vet -vettool=lint ./...
//
// so that the go command caches what they find. A line that ends in "//nolint:NAME // why" is left out by the analyzer
// of that name.
package main

import (
	"go/token"
	"slices"
	"strings"

	"github.com/kisielk/errcheck/errcheck"
	"github.com/polyfloyd/go-errorlint/errorlint"
	"github.com/sonatard/noctx"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/nilness"
	"golang.org/x/tools/go/analysis/passes/unusedwrite"
	"golang.org/x/tools/go/analysis/unitchecker"
)

func main() {
	unitchecker.Main(
		// Errors that are compared or asserted so that those which wrap them are missed. The end of input is never
		// wrapped, since it is no error, and system calls return bare numbers.
		outsideTests(errorlint.NewAnalyzer(), "io.EOF", "io.ErrUnexpectedEOF", "unix.E"),
		// Errors that nobody looks at, but for those of errcheck.txt.
		outsideTests(errcheck.Analyzer),
		// Dialling, listening and starting without the context that bounds it.
		outsideTests(noctx.Analyzer),
		// Conditions and dereferences of what is known to be nil.
		outsideTests(nilness.Analyzer),
		// Writes to fields that nobody reads.
		outsideTests(unusedwrite.Analyzer),
	)
}

// outsideTests leaves out tests, which end with the process and fail loudly, lines with one of these texts, and lines
// that are excused.
func outsideTests(a *analysis.Analyzer, texts ...string) *analysis.Analyzer {
	run := a.Run
	a.Run = func(pass *analysis.Pass) (any, error) {
		report := pass.Report
		pass.Report = func(d analysis.Diagnostic) {
			at := pass.Fset.Position(d.Pos)
			line := lineAt(pass, at)
			has := func(text string) bool { return strings.Contains(line, text) }
			if !strings.HasSuffix(at.Filename, "_test.go") && !slices.ContainsFunc(texts, has) && !excused(line, a.Name) {
				report(d)
			}
		}
		return run(pass)
	}
	return a
}

// lineAt returns the text of a line of the source.
func lineAt(pass *analysis.Pass, at token.Position) string {
	source, err := pass.ReadFile(at.Filename)
	lines := strings.Split(string(source), "\n")
	if err != nil || at.Line < 1 || at.Line > len(lines) {
		return ""
	}
	return lines[at.Line-1]
}

// excused is whether the line says that the analyzer of this name is to leave it out.
func excused(line, name string) bool {
	_, names, ok := strings.Cut(line, "//nolint:")
	names, _, _ = strings.Cut(names, " ")
	return ok && slices.Contains(strings.Split(names, ","), name)
}
