package typecheck

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

func TestTheStandardLibraryIsClean(t *testing.T) {
	t.Parallel()
	checker := new(Checker)
	request := api.PlanRequest{Dir: newProject(t, chain).dir, Patterns: []string{"net/http", "go/types", "os/user"}}
	p := &project{t: t, checker: checker, request: request}
	o := p.check()
	o.wantClean(t)
	if len(o.skipped) > 0 || len(o.checked) < 5 {
		t.Errorf("checked %q, skipped %q", o.checked, o.skipped)
	}
	o = p.check()
	o.wantChecked(t)
	if o.listed {
		t.Errorf("listed because %q", o.reason)
	}
}

func TestThisModuleIsClean(t *testing.T) {
	t.Parallel()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	p := &project{t: t, checker: new(Checker), request: api.PlanRequest{Dir: dir, Patterns: []string{".", "../api"}}}
	o := p.check()
	o.wantClean(t)
}

func TestOtherSystemsAndTagsAreChecked(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/tags.txtar")
	if err != nil {
		t.Fatal(err)
	}
	p := newProject(t, string(text))
	const wrong = "cannot use %d (untyped int constant) as string value in return statement"
	for i, system := range []string{"linux", "windows", "darwin", "freebsd"} {
		p.request.GOOS, p.request.GOARCH = system, "arm64"
		o := p.check()
		o.wantDiagnostics(t, fmt.Sprintf("./a_%s.go:3:31: "+wrong, system, i+1))
	}
	p.request.GOOS, p.request.Tags = "linux", []string{"special", "other"}
	o := p.check()
	if len(o.diagnostics) != 2 || !strings.HasPrefix(o.diagnostics[1], "./tagged.go:5:19: ") {
		t.Errorf("diagnostics %q", o.diagnostics)
	}
}

func TestSizesAreThoseOfTheArchitecture(t *testing.T) {
	t.Parallel()
	p := newProject(t, "-- go.mod --\nmodule m\n\ngo 1.24\n-- a.go --\npackage m\n\nconst big int = 1 << 40\n")
	p.request.GOOS, p.request.GOARCH = "linux", "386"
	o := p.check()
	o.wantDiagnostics(t, "./a.go:3:17: cannot use 1 << 40 (untyped int constant 1099511627776) as int value in constant declaration (overflows)")
	p.request.GOARCH = "amd64"
	o = p.check()
	o.wantClean(t)
}

func TestTestsCanBeLeftOut(t *testing.T) {
	t.Parallel()
	p := newProject(t, chain)
	p.request.NoTests = true
	o := p.check()
	o.wantChecked(t, "m/a", b, c, d)
}

func TestErrorsOfAPackageThatNobodyAskedForAreReported(t *testing.T) {
	t.Parallel()
	p := newProject(t, chain)
	p.edit("a/a.go", "N int", "N undefined")
	p.request.Patterns = []string{"./c"}
	for range 2 {
		o := p.check()
		o.wantDiagnostics(t, "a/a.go:6:18: undefined: undefined")
		if !slices.Equal(o.skipped, []string{c, x}) {
			t.Errorf("skipped %q", o.skipped)
		}
	}
}

func TestTooManyDiagnosticsAreCounted(t *testing.T) {
	t.Parallel()
	p := newProject(t, "-- go.mod --\nmodule m\n\ngo 1.24\n-- a.go --\npackage m\n"+strings.Repeat("var _ = nope\n", 250))
	o := p.check()
	last := o.events[len(o.events)-2]
	if len(last.Diagnostics) != 200 || last.Dropped != 50 || o.summary.Diagnostics != 250 {
		t.Errorf("%d diagnostics, %d dropped, %d in all", len(last.Diagnostics), last.Dropped, o.summary.Diagnostics)
	}
	if first := o.diagnostics[0]; first != "./a.go:2:9: undefined: nope" {
		t.Errorf("first is %q", first)
	}
}

func TestUnusableRequestsAreErrors(t *testing.T) {
	p := newProject(t, chain)
	p.write("file", "")
	for name, request := range map[string]api.PlanRequest{
		"relative directory":    {Dir: "."},
		"no directory":          {Dir: filepath.Join(p.dir, "nothing")},
		"directory is a file":   {Dir: filepath.Join(p.dir, "file")},
		"no such directory":     {Dir: p.dir, Patterns: []string{"./nothing"}},
		"no such directories":   {Dir: p.dir, Patterns: []string{"./nothing/..."}},
		"malformed pattern":     {Dir: p.dir, Patterns: []string{"a b"}},
		"no module":             {Dir: filepath.Dir(p.dir), Patterns: []string{"./..."}},
		"unknown system":        {Dir: p.dir, GOOS: "nothing"},
		"nothing to be checked": {Dir: p.dir, Patterns: []string{"m/nothing/..."}},
	} {
		_, err := p.checker.Plan(t.Context(), request)
		if _, ok := errors.AsType[*RequestError](err); !ok {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	p.write("go.mod", "nonsense\n")
	if _, err := p.checker.Plan(t.Context(), p.request); err == nil || !strings.Contains(err.Error(), "go.mod") {
		t.Errorf("bad go.mod: got error %v", err)
	}
	t.Setenv("PATH", "")
	if _, err := p.checker.Plan(t.Context(), p.request); err == nil || !strings.Contains(err.Error(), "executable file not found") {
		t.Errorf("no go command: got error %v", err)
	}
}

func TestRequestsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	p := newProject(t, chain)
	plan := p.plan()
	send := func(api.CheckEvent) error { return nil }
	for name, request := range map[string]api.CheckRequest{
		"unknown target":       plan.Request("m/nothing"),
		"unknown architecture": {Config: api.Config{GOARCH: "nothing"}},
	} {
		if _, ok := errors.AsType[*RequestError](p.checker.Check(t.Context(), request, send)); !ok {
			t.Errorf("%s is not refused", name)
		}
	}
}

func TestSharesOfACheckAreAllOfIt(t *testing.T) {
	t.Parallel()
	p := newProject(t, chain)
	plan := p.plan()
	for n := range 7 {
		var targets []string
		for i, request := range plan.Split(n) {
			o := runCheck(t, new(Checker), request)
			o.wantClean(t)
			o.wantChecked(t, request.Targets...)
			targets = append(targets, request.Targets...)
			if again := plan.Split(n)[i]; !slices.Equal(again.Targets, request.Targets) {
				t.Errorf("share %d is %q and then %q", i, request.Targets, again.Targets)
			}
		}
		slices.Sort(targets)
		if want := slices.Sorted(slices.Values(plan.Targets())); !slices.Equal(targets, want) {
			t.Errorf("%d shares have the targets %q, want %q", n, targets, want)
		}
	}
}

func TestWhatSendReturnsEndsTheCheck(t *testing.T) {
	t.Parallel()
	p := newProject(t, chain)
	plan := p.plan()
	enough := errors.New("enough")
	for n := range 4 {
		sent := 0
		err := p.checker.Check(t.Context(), plan.Request(plan.Targets()...), func(api.CheckEvent) error {
			if sent++; sent > n {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) || sent != n+1 {
			t.Errorf("after %d events: got error %v, %d events", n, err, sent)
		}
	}
	o := p.check()
	o.wantClean(t)
}

func TestContextEndsPlanAndCheck(t *testing.T) {
	t.Parallel()
	p := newProject(t, chain)
	plan := p.plan()
	request := plan.Request(plan.Targets()...)
	for n := range 4 {
		ctx, cancel := context.WithCancel(t.Context())
		sent := 0
		err := p.checker.Check(ctx, request, func(api.CheckEvent) error {
			if sent++; sent > n {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after %d events: got error %v", n, err)
		}
		if _, err := p.checker.Plan(ctx, p.request); !errors.Is(err, context.Canceled) {
			t.Errorf("plan: got error %v", err)
		}
	}
	o := p.check()
	o.wantClean(t)
}

func TestACallThatWaitsForItsTurnObeysItsContext(t *testing.T) {
	t.Parallel()
	p := newProject(t, chain)
	plan := p.plan()
	request := plan.Request(plan.Targets()...)
	p.check()
	err := p.checker.Check(t.Context(), request, func(api.CheckEvent) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			if err := p.checker.Check(ctx, request, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("got error %v", err)
			}
		})
		cancel()
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestCallsCanBeMadeAtTheSameTime(t *testing.T) {
	t.Parallel()
	p := newProject(t, chain)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			q := &project{t: t, dir: p.dir, checker: p.checker, request: p.request}
			if i%2 == 0 {
				q.request.Patterns = []string{"./c", "./d"}
			}
			for range 3 {
				plan, err := q.checker.Plan(t.Context(), q.request)
				if err != nil {
					t.Error(err)
					return
				}
				o := runCheck(t, q.checker, plan.Request(plan.Targets()...))
				o.wantClean(t)
			}
		})
	}
	wg.Wait()
}

func TestLittleRoomCostsTimeOnly(t *testing.T) {
	t.Parallel()
	for _, room := range []int64{-1, 1, 4 << 10, 2 << 20} {
		p := newProject(t, chain)
		p.checker.MaxSource = room
		p.check()
		for i := range 4 {
			p.edit("b/b.go", "func G", "var _ = a.F\n\nfunc G")
			if i%2 == 1 {
				p.edit("a/a.go", "N int", "N int; M"+strings.Repeat("x", i)+" string")
			}
			o := p.check()
			o.wantClean(t)
			p.request.Patterns = []string{[]string{"./c", "./d", "./...", "./b"}[i]}
		}
		var size int64
		for _, v := range p.checker.store.exports.values {
			size += v.value.weight()
		}
		if size > max(0, room) {
			t.Errorf("with room for %d bytes %d are kept", room, size)
		}
	}
}

// What is kept must be made from what is kept.
func TestWhatIsDroppedIsNotInUse(t *testing.T) {
	t.Parallel()
	var s store
	keys := make([]sum, 12)
	for i := range keys {
		keys[i] = sum{byte(i)}
		s.exports.put(keys[i], &export{height: i % 4, size: 1 << 10})
		if i%4 == 3 {
			s.trim(0)
		}
	}
	for _, i := range []int{0, 1, 2, 8, 9, 10, 11} { // packages are used with all below them
		s.export(keys[i])
	}
	for room := int64(14 << 11); room >= 0; room -= 1 << 11 {
		clock := s.exports.clock
		s.trim(max(1, room))
		s.exports.clock = clock
		for i := range keys {
			if s.exports.values[keys[i]] != nil && i%4 > 0 && s.exports.values[keys[i-1]] == nil {
				t.Errorf("with room for %d bytes %d is kept without %d", room, i, i-1)
			}
		}
	}
	if len(s.exports.values) > 0 {
		t.Errorf("%d are kept without room", len(s.exports.values))
	}
}

func TestAPanicOfTheTypeCheckerIsADiagnostic(t *testing.T) {
	t.Parallel()
	r, err := newRun(new(Checker), api.CheckRequest{Config: api.Config{GOARCH: "amd64"}})
	if err != nil {
		t.Fatal(err)
	}
	found := &collected{fset: r.fset}
	r.typeCheck(&node{pkg: &api.Package{ID: "m", Path: "m"}}, []*ast.File{{}}, found)
	list := found.findings().list
	if len(list) != 1 || !strings.HasPrefix(list[0].Message, "internal error: type checking m: ") {
		t.Errorf("got %v", list)
	}
	if !found.visible(nil) {
		t.Error("others would use the package")
	}
}

func TestAFileThatIsGoneIsADiagnostic(t *testing.T) {
	t.Parallel()
	p := newProject(t, chain)
	plan := p.plan()
	p.remove("a/more.go")
	o := runCheck(t, p.checker, plan.Request(plan.Targets()...))
	o.wantDiagnostics(t, "a/more.go: no such file or directory")
	p.write("a/more.go", "package a\n\nfunc more() {}\n")
	o = p.check()
	o.wantClean(t)
}
