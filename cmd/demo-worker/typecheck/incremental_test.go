package typecheck

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// chain is a module where c depends on b, which depends on a, and d on none of them.
const chain = `
-- go.mod --
module m

go 1.24
-- a/a.go --
package a

// Doc.
func F() int { return 1 }

type T struct{ N int }
-- a/more.go --
package a

func more() {}
-- a/a_test.go --
package a

func useF() { F(); more() }
-- b/b.go --
package b

import "m/a"

func G() a.T { return a.T{N: a.F()} }
-- c/c.go --
package c

import "m/b"

func H() int { return b.G().N }
-- c/c_test.go --
package c_test

import "m/c"

func useH() { c.H() }
-- d/d.go --
package d

import "unicode/utf8"

func D() string { return string(utf8.RuneError) }
`

// The targets of chain.
const (
	a = "m/a [m/a.test]"
	b = "m/b"
	c = "m/c"
	x = "m/c_test [m/c.test]"
	d = "m/d"
)

// warm returns a project that has been checked, and has nothing to list.
func warm(t *testing.T, archive string) *project {
	t.Helper()
	p := newProject(t, archive)
	first := p.check()
	first.wantClean(t)
	if !first.listed || len(first.reused) > 0 {
		t.Fatalf("first check: listed %v, reused %q", first.listed, first.reused)
	}
	return p
}

func TestNothingIsDoneAgainIfNothingHasChanged(t *testing.T) {
	t.Parallel()
	p := newProject(t, chain)
	first := p.check()
	first.wantChecked(t, a, b, c, d, x)
	if first.reason != "first" {
		t.Errorf("reason of the first list is %q", first.reason)
	}
	second := p.check()
	second.wantChecked(t)
	if second.listed || second.reason != "" || second.summary.DependenciesChecked > 0 {
		t.Errorf("second check: listed %v because %q, %+v", second.listed, second.reason, second.summary)
	}
}

func TestATouchedFileIsNotCheckedAgain(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	for _, to := range []time.Time{time.Now(), time.Now().Add(-time.Minute), time.Now().Add(time.Hour)} {
		p.touch("a/a.go", to)
		p.touch("go.mod", to)
		p.touch("a", to)
		o := p.check()
		o.wantChecked(t)
		if o.listed {
			t.Errorf("listed because %q", o.reason)
		}
	}
}

func TestAnEditInAFunctionConcernsItsPackageOnly(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	p.edit("a/a.go", "return 1", "n := 2\n\treturn n")
	o := p.check()
	o.wantChecked(t, a)
	o.wantClean(t)
	if o.listed {
		t.Errorf("listed because %q", o.reason)
	}
	p.edit("b/b.go", "a.F()", "a.F() + 1")
	o = p.check()
	o.wantChecked(t, b)
	o.wantClean(t)
}

func TestAnEditOfADeclarationConcernsAllThatDependOnIt(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	p.edit("a/a.go", "N int", "N int; M string")
	o := p.check()
	o.wantChecked(t, a, b, c, x)
	o.wantClean(t)
	p.edit("c/c.go", "H() int", "H() (n int)")
	o = p.check()
	o.wantChecked(t, c, x)
	o.wantClean(t)
}

func TestAnEditOfATestConcernsTheTestOnly(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	p.edit("a/a_test.go", "F(); more()", "more()")
	o := p.check()
	o.wantChecked(t, a)
	p.edit("c/c_test.go", "c.H()", "_ = c.H()")
	o = p.check()
	o.wantChecked(t, x)
	o.wantClean(t)
}

func TestAnEarlierStateIsKnown(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	p.edit("a/a.go", "N int", "N int; M string")
	p.check()
	p.edit("a/a.go", "N int; M string", "N int")
	o := p.check()
	o.wantChecked(t)
	o.wantClean(t)
}

func TestAnAddedFileIsSeen(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	p.write("b/extra.go", "package b\n\nvar Extra int = \"s\"\n")
	o := p.check()
	if !o.listed || !strings.HasPrefix(o.reason, "changed: ") {
		t.Errorf("listed %v because %q", o.listed, o.reason)
	}
	if !slices.Equal(o.checked, []string{b}) || !slices.Equal(o.skipped, []string{c, x}) {
		t.Errorf("checked %q, skipped %q", o.checked, o.skipped)
	}
	o.wantDiagnostics(t, `b/extra.go:3:17: cannot use "s" (untyped string constant) as int value in variable declaration`)
	p.remove("b/extra.go")
	o = p.check()
	o.wantChecked(t)
	o.wantClean(t)
	if !o.listed {
		t.Error("a file was removed, and nothing was listed")
	}
}

func TestADeletedFileIsSeen(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	p.remove("a/more.go")
	o := p.check()
	o.wantChecked(t, a, b, c, x)
	o.wantDiagnostics(t, "a/a_test.go:3:20: undefined: more")
}

func TestABrokenDeclarationKeepsDependentsFromBeingChecked(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	p.edit("a/a.go", "N int", "N undefined")
	for range 2 {
		o := p.check()
		o.wantDiagnostics(t, "a/a.go:6:18: undefined: undefined")
		if !slices.Equal(o.skipped, []string{b, c, x}) {
			t.Errorf("skipped %q", o.skipped)
		}
		for _, e := range o.events {
			if e.SkippedFor != "" && e.SkippedFor != "m/a" {
				t.Errorf("%s was skipped for %s", e.ID, e.SkippedFor)
			}
		}
	}
	p.edit("a/a.go", "N undefined", "N int")
	o := p.check()
	o.wantChecked(t)
	o.wantClean(t)
}

func TestABrokenBodyDoesNotKeepDependentsFromBeingChecked(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	p.edit("a/a.go", "return 1", "unused := 1; return")
	p.edit("c/c.go", "return b", "return 1 + b.Nope().N + b")
	o := p.check()
	o.wantChecked(t, a, c)
	slices.Sort(o.diagnostics) // the packages are checked at the same time
	o.wantDiagnostics(t,
		"a/a.go:4:16: declared and not used: unused",
		"a/a.go:4:29: not enough return values\n\thave ()\n\twant (int)",
		"c/c.go:5:29: undefined: b.Nope")
}

func TestASyntaxErrorIsRepaired(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	p.edit("a/a.go", "return 1", "return +")
	o := p.check()
	if len(o.diagnostics) == 0 || !strings.HasPrefix(o.diagnostics[0], "a/a.go:4:") || len(o.skipped) != 3 {
		t.Errorf("diagnostics %q, skipped %q", o.diagnostics, o.skipped)
	}
	p.edit("a/a.go", "return +", "return 2")
	o = p.check()
	o.wantChecked(t, a)
	o.wantClean(t)
}

func TestAnImportIsSeen(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	p.edit("d/d.go", `import "unicode/utf8"`, "import (\n\t\"m/c\"\n\t\"unicode/utf8\"\n)\n\nvar _ = c.H")
	o := p.check()
	o.wantChecked(t, d)
	o.wantClean(t)
	if !o.listed {
		t.Error("the imports changed, and nothing was listed")
	}
	p.edit("a/a.go", "N int", "N int; M string")
	o = p.check()
	o.wantChecked(t, a, b, c, d, x)
}

func TestABuildConstraintIsSeen(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	p.edit("a/more.go", "package a", "//go:build never\n\npackage a")
	o := p.check()
	if !o.listed {
		t.Error("a constraint changed, and nothing was listed")
	}
	o.wantDiagnostics(t, "a/a_test.go:3:20: undefined: more")
	p.edit("a/more.go", "go:build never", "go:build !never")
	o = p.check()
	o.wantClean(t)
}

func TestANewPackageIsSeen(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	p.write("d/new/new.go", "package new\n\nimport \"m/d\"\n\nvar _ int = d.D()\n")
	o := p.check()
	o.wantChecked(t, "m/d/new")
	o.wantDiagnostics(t, "d/new/new.go:5:13: cannot use d.D() (value of type string) as int value in variable declaration")
	p.remove("d/new")
	o = p.check()
	o.wantChecked(t)
	o.wantClean(t)
}

func TestAMissingPackageThatAppearsIsSeen(t *testing.T) {
	t.Parallel()
	p := newProject(t, strings.Replace(chain, "package d\n", "package d\n\nimport _ \"m/late\"\n", 1))
	o := p.check()
	o.wantDiagnostics(t, "d/d.go:3:8: package m/late is not in std ("+goroot(t)+"/src/m/late)")
	p.write("late/late.go", "package late\n")
	o = p.check()
	o.wantChecked(t, d, "m/late")
	o.wantClean(t)
}

func TestAChangedModuleFileIsSeen(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	p.edit("go.mod", "go 1.24", "go 1.23")
	o := p.check()
	o.wantChecked(t, a, b, c, d, x)
	o.wantClean(t)
	if !strings.HasSuffix(o.reason, "go.mod") {
		t.Errorf("listed because %q", o.reason)
	}
}

func TestAWorkspaceFileThatAppearsIsSeen(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	p.write("go.work", "go 1.24\n\nuse .\n")
	o := p.check()
	o.wantChecked(t)
	if !o.listed {
		t.Error("nothing was listed")
	}
}

func TestADeletedEmbeddedFileIsSeen(t *testing.T) {
	t.Parallel()
	p := warm(t, `
-- go.mod --
module m

go 1.24
-- e.go --
package m

import _ "embed"

//go:embed text/hello.txt
var hello string
-- text/hello.txt --
hello
`)
	p.edit("text/hello.txt", "hello", "good bye")
	o := p.check()
	o.wantChecked(t)
	p.remove("text/hello.txt")
	o = p.check()
	o.wantDiagnostics(t, "./e.go:5:12: pattern text/hello.txt: no matching files found")
}

func TestAChangeOfAFileThatCgoTranslatesIsSeen(t *testing.T) {
	t.Parallel()
	p := newProject(t, `
-- go.mod --
module m

go 1.24
-- c.go --
package m

// #include "c.h"
import "C"

var n C.int = C.int(C.value)
-- c.h --
enum { value = 1 };
-- c_other.go --
//go:build !cgo

package m
`)
	o := p.check()
	o.wantIfCgo(t)
	p.edit("c.h", "value", "other")
	o = p.check()
	o.wantIfCgo(t, "./c.go:6:21: could not determine what C.value refers to")
	p.edit("c.go", "C.value", "C.other")
	o = p.check()
	o.wantIfCgo(t)
}

func TestAWriteThatLeavesSizeAndTimeAsTheyAreIsSeenSoonAfterAnother(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	now := time.Now()
	p.edit("a/a.go", "return 1", "return 2")
	p.touch("a/a.go", now)
	o := p.check()
	o.wantChecked(t, a)
	p.edit("a/a.go", "return 2", "return x")
	p.touch("a/a.go", now)
	o = p.check()
	o.wantDiagnostics(t, "a/a.go:4:23: undefined: x")
}
