package typecheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each fixture is a module. What is found in it must be what the compiler finds, except for columns; and what `go vet`
// says, columns included, must be among it. A fixture that begins with "lines only" is held against the compiler by its
// lines only, where its words are others than those of go vet.
func TestDiagnosticsAreThoseOfTheCompilerAndOfVet(t *testing.T) {
	t.Parallel()
	fixtures, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(fixtures) == 0 {
		t.Fatalf("find fixtures: %v, %v", fixtures, err)
	}
	for _, fixture := range fixtures {
		t.Run(strings.TrimSuffix(filepath.Base(fixture), ".txtar"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(fixture)
			if err != nil {
				t.Fatal(err)
			}
			p := newProject(t, string(text))
			got := p.check().diagnostics
			again := p.check().diagnostics
			compareSets(t, "first check", again, got)
			form := withoutColumns
			if strings.HasPrefix(string(text), "lines only") {
				form = onlyLines
			}
			compareSets(t, "compiler", normalise(got, form), normalise(compilerErrors(t, p.dir), form))
			full := normalise(got, asPrinted)
			for _, want := range normalise(vetErrors(t, p.dir), asPrinted) {
				if !slices.Contains(full, want) {
					t.Errorf("vet says\n%s\nwhich is not among\n%s", want, strings.Join(full, "\n"))
				}
			}
		})
	}
}

// compareSets reports what one list has and the other has not.
func compareSets(t *testing.T, who string, got, want []string) {
	t.Helper()
	for _, s := range got {
		if !slices.Contains(want, s) {
			t.Errorf("the %s does not say\n%s", who, s)
		}
	}
	for _, s := range want {
		if !slices.Contains(got, s) {
			t.Errorf("only the %s says\n%s", who, s)
		}
	}
}

var (
	column     = regexp.MustCompile(`(\.go:\d+):\d+`)
	remark     = regexp.MustCompile(` \(-lang was set to [^)]*\)| \(and \d+ more errors\)`)
	cycle      = regexp.MustCompile(`(imports \S+) from [^\s:]+`)
	lineNumber = regexp.MustCompile(`^\S+\.go:\d+`)
)

func asPrinted(s string) string {
	s = cycle.ReplaceAllString(remark.ReplaceAllString(s, ""), "$1")
	return strings.TrimPrefix(s, "./")
}

func withoutColumns(s string) string { return column.ReplaceAllString(asPrinted(s), "$1") }

func onlyLines(s string) string { return lineNumber.FindString(asPrinted(s)) }

// normalise removes what differs in form only.
func normalise(list []string, form func(string) string) []string {
	var out []string
	for _, s := range list {
		out = append(out, form(strings.ReplaceAll(s, "\n\t./", "\n\t")))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// compilerErrors returns all errors that the go command and the compiler have for the packages and their tests.
func compilerErrors(t *testing.T, dir string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "-test", "-export", "-gcflags=-e",
		"-json=ImportPath,Error", "./...")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var errs []string
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return errs
		} else if err != nil {
			t.Fatal(err)
		}
		switch {
		case p.Error == nil:
		case strings.HasPrefix(p.Error.Err, "# "):
			errs = append(errs, messages(p.Error.Err)...)
		case p.Error.Pos != "":
			errs = append(errs, p.Error.Pos+": "+p.Error.Err)
		case len(p.Error.ImportStack) > 1:
			errs = append(errs, "package "+strings.Join(p.Error.ImportStack, "\n\timports ")+": "+p.Error.Err)
		default:
			errs = append(errs, p.Error.Err)
		}
	}
}

// vetErrors returns what go vet says.
func vetErrors(t *testing.T, dir string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "vet", "./...")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatalf("go vet: %v", err)
	}
	return messages(string(out))
}

// messages splits what a tool has printed.
func messages(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "\t") && len(list) > 0:
			list[len(list)-1] += "\n" + line
		default:
			list = append(list, strings.TrimPrefix(line, "vet: "))
		}
	}
	return list
}
