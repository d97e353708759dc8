package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// sample returns a plan with n packages of different sizes, each with an external test, that import one another in a
// chain, and one dependency that all have in common.
func sample(n int) *PlanReply {
	r := &PlanReply{Config: Config{Dir: "/m"}, Packages: []Package{{ID: "dep", Path: "dep"}}}
	before := "dep"
	for i := range n {
		path := fmt.Sprintf("m/p%02d", i)
		test := path + "_test [" + path + ".test]"
		r.Packages = append(r.Packages,
			Package{ID: path, Path: path, Imports: []string{before}, Target: true, Bytes: int64(i%5) * 3000},
			Package{ID: test, Path: path + "_test", Imports: []string{path, "dep"}, Target: true, Bytes: 500})
		before = path
	}
	return r
}

func TestARequestHasAllThatItsTargetsNeedInOrder(t *testing.T) {
	plan := sample(4)
	request := plan.Request("m/p01_test [m/p01.test]")
	var ids []string
	for _, p := range request.Packages {
		ids = append(ids, p.ID)
	}
	want := []string{"dep", "m/p00", "m/p01", "m/p01_test [m/p01.test]"}
	if !slices.Equal(ids, want) || request.Config != plan.Config {
		t.Errorf("got packages %q, want %q; config %v", ids, want, request.Config)
	}
}

func TestSplitGivesEachTargetToOneWorker(t *testing.T) {
	for n := range 20 {
		for workers := range 6 {
			plan := sample(n)
			requests := plan.Split(workers)
			if len(requests) > max(1, workers) {
				t.Errorf("%d packages, %d workers: %d requests", n, workers, len(requests))
			}
			var all []string
			for _, r := range requests {
				if len(r.Targets) == 0 {
					t.Errorf("%d packages, %d workers: a request has no targets", n, workers)
				}
				all = append(all, r.Targets...)
			}
			slices.Sort(all)
			if want := slices.Sorted(slices.Values(plan.Targets())); !slices.Equal(all, want) {
				t.Errorf("%d packages, %d workers: got %q, want %q", n, workers, all, want)
			}
		}
	}
}

func TestSplitKeepsAPackageAndItsTestsTogether(t *testing.T) {
	for _, r := range sample(10).Split(3) {
		for _, id := range r.Targets {
			path, _, isTest := strings.Cut(id, "_test")
			if isTest && !slices.Contains(r.Targets, path) {
				t.Errorf("%s is apart from its package", id)
			}
		}
	}
}

func TestSplitIsTheSameAfterASmallEdit(t *testing.T) {
	before := sample(10).Split(3)
	plan := sample(10)
	for i := range plan.Packages {
		plan.Packages[i].Bytes += 10
	}
	for i, r := range plan.Split(3) {
		if !slices.Equal(r.Targets, before[i].Targets) {
			t.Errorf("share %d was %q and is %q", i, before[i].Targets, r.Targets)
		}
	}
}

func TestSplitIsFair(t *testing.T) {
	for _, r := range sample(50).Split(2) {
		if len(r.Targets) < 40 || len(r.Targets) > 60 {
			t.Errorf("a share has %d of 100 targets", len(r.Targets))
		}
	}
}

func TestDiagnosticsArePrintedAsCompilersDo(t *testing.T) {
	for want, d := range map[string]Diagnostic{
		"./a.go:1:2: text": {File: "./a.go", Line: 1, Column: 2, Message: "text"},
		"./a.go:1: text":   {File: "./a.go", Line: 1, Message: "text"},
		"./a.go: text":     {File: "./a.go", Message: "text"},
		"text":             {Message: "text"},
	} {
		if got := d.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
