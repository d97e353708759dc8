package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

func TestAfterAnEditOnlyThePackageAndItsDependantsAreCheckedAgain(t *testing.T) {
	dir := chain(t)
	cfg, _ := ownCrew(t, 2)
	c := &checker{
		request: api.PlanRequest{Dir: dir, Patterns: []string{"./..."}},
		crew:    startCrew(t, cfg), display: &display{out: t.Output()},
	}
	for _, step := range []struct {
		name    string
		path    string
		text    string
		checked []string
	}{
		{"the first round", "", "", []string{"example.com/m/a", "example.com/m/b", "example.com/m/c", "example.com/m/d"}},
		{"no change", "", "", nil},
		{"another declaration", "b/b.go", "package b\n\nfunc B() int8 { return 2 }\n", []string{"example.com/m/b", "example.com/m/c"}},
		{"another body", "a/a.go", "package a\n\nfunc A() int { return 2 }\n", []string{"example.com/m/a"}},
		{"a new package", "e/e.go", "package e\n", []string{"example.com/m/e"}},
	} {
		if step.path != "" {
			write(t, filepath.Join(dir, step.path), step.text)
		}
		r, err := c.round(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := r.with(checked); !slices.Equal(got, step.checked) {
			t.Errorf("%s: checked %q, want %q", step.name, got, step.checked)
		}
	}
}

func TestEveryChangeThatMattersIsSeen(t *testing.T) {
	dir := chain(t)
	request := api.PlanRequest{Dir: dir, Patterns: []string{"./..."}}
	plan := &api.PlanReply{Packages: []api.Package{
		{ID: "a", Dir: filepath.Join(dir, "a"), Files: []string{"a.go"}},
		{ID: "std", Dir: t.TempDir(), Files: []string{"std.go"}, Fixed: true},
	}}
	fixed := filepath.Join(plan.Packages[1].Dir, "std.go")
	write(t, fixed, "package std\n")
	empty, hidden := filepath.Join(dir, "without", "packages"), filepath.Join(dir, ".git")
	for _, d := range []string{empty, hidden} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	age(t, dir)
	for _, test := range []struct {
		name string
		path string
		seen bool
	}{
		{"an edit", filepath.Join(dir, "a", "a.go"), true},
		{"a new file in a package", filepath.Join(dir, "a", "new.go"), true},
		{"a new file in a directory without packages", filepath.Join(empty, "new.go"), true},
		{"the module file", filepath.Join(dir, "go.mod"), true},
		{"a module file that was not there", filepath.Join(dir, "go.work"), true},
		{"a file in a hidden directory", filepath.Join(hidden, "index"), false},
		{"a file that never changes", fixed, false},
	} {
		s := newScene(time.Now(), scenery(request, plan))
		if changed := s.changes(); len(changed) > 0 {
			t.Fatalf("before %s, %q has changed", test.name, changed)
		}
		write(t, test.path, "something else\n")
		if changed := s.changes(); len(changed) > 0 != test.seen {
			t.Errorf("%s: changed is %q, want seen %v", test.name, changed, test.seen)
		}
		age(t, dir)
	}
}

func TestWhatChangedDuringACheckCountsAsChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.go")
	start := time.Now()
	write(t, path, "package a\n")
	if changed := newScene(start, []string{path}).changes(); len(changed) != 1 {
		t.Error("a file that was written after the check had begun was not taken for changed")
	}
}

func TestAFileFromTheFutureDoesNotChangeAllTheTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.go")
	write(t, path, "package a\n")
	future := time.Now().Add(time.Hour)
	if err := os.Chtimes(path, future, future); err != nil {
		t.Fatal(err)
	}
	if changed := newScene(time.Now(), []string{path}).changes(); len(changed) > 0 {
		t.Error("it was taken for changed")
	}
}

func TestPackagesCanAppearWhereThePatternsLook(t *testing.T) {
	dir := filepath.FromSlash("/m/sub")
	for pattern, want := range map[string][]string{
		"./...":      {dir},
		"...":        {dir},
		"std/...":    {dir},
		"./x/...":    {filepath.Join(dir, "x")},
		"./x/y...":   {filepath.Join(dir, "x")},
		"../...":     {filepath.FromSlash("/m")},
		"./x":        nil,
		"fmt":        nil,
		"/other/...": {filepath.FromSlash("/other/")},
	} {
		if got := roots(api.PlanRequest{Dir: dir, Patterns: []string{pattern}}); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", pattern, got, want)
		}
	}
}
