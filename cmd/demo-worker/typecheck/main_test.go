package typecheck

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

func TestMain(m *testing.M) {
	for name, value := range map[string]string{"GOFLAGS": "", "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOWORK": ""} {
		os.Setenv(name, value)
	}
	goleak.VerifyTestMain(m)
}

// project is a module in a temporary directory, with a checker for it.
type project struct {
	t       *testing.T
	dir     string
	checker *Checker
	request api.PlanRequest
}

// newProject unpacks an archive: files, each after a line "-- name --". All files are an hour old.
func newProject(t *testing.T, archive string) *project {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := &project{t: t, dir: dir, checker: new(Checker), request: api.PlanRequest{Dir: dir, Patterns: []string{"./..."}}}
	var name string
	files := make(map[string]*bytes.Buffer)
	for line := range strings.Lines(archive) {
		if marked, ok := strings.CutPrefix(strings.TrimSpace(line), "-- "); ok && strings.HasSuffix(marked, " --") {
			name = strings.TrimSuffix(marked, " --")
			files[name] = new(bytes.Buffer)
		} else if name != "" {
			files[name].WriteString(line)
		}
	}
	for name, text := range files {
		p.write(name, text.String())
	}
	p.age()
	return p
}

// write writes a file, and its directory where there is none.
func (p *project) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		p.t.Fatal(err)
	}
}

// edit replaces a part of a file.
func (p *project) edit(name, old, new string) {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		p.t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		p.t.Fatalf("%s does not contain %q", name, old)
	}
	p.write(name, strings.Replace(string(text), old, new, 1))
}

// remove removes a file or a directory.
func (p *project) remove(name string) {
	p.t.Helper()
	if err := os.RemoveAll(filepath.Join(p.dir, name)); err != nil {
		p.t.Fatal(err)
	}
}

// touch changes a file's time.
func (p *project) touch(name string, to time.Time) {
	p.t.Helper()
	if err := os.Chtimes(filepath.Join(p.dir, name), to, to); err != nil {
		p.t.Fatal(err)
	}
}

// age makes all files and directories an hour old, and waits until a look at them proves something. Where the system has
// the time of the change, that is now.
func (p *project) age() {
	p.t.Helper()
	old := time.Now().Add(-time.Hour)
	var paths []string
	err := filepath.WalkDir(p.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		paths = append(paths, path)
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		p.t.Fatal(err)
	}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for slices.ContainsFunc(paths, func(path string) bool { return changedSince(path, time.Now()) }) {
		<-ticker.C
	}
}

// outcome is what a plan and a check told.
type outcome struct {
	listed                   bool
	reason                   string
	checked, reused, skipped []string // IDs of targets, sorted
	diagnostics              []string // of all packages, in order, without doubles
	events                   []api.CheckEvent
	summary                  api.Summary
}

// plan makes a plan.
func (p *project) plan() api.PlanReply {
	p.t.Helper()
	plan, err := p.checker.Plan(p.t.Context(), p.request)
	if err != nil {
		p.t.Fatal(err)
	}
	return plan
}

// check makes a plan and checks all targets.
func (p *project) check() outcome {
	p.t.Helper()
	plan := p.plan()
	o := runCheck(p.t, p.checker, plan.Request(plan.Targets()...))
	o.listed, o.reason = plan.Listed, plan.Reason
	return o
}

// runCheck checks, and holds the events against what their doc says.
func runCheck(t *testing.T, c *Checker, req api.CheckRequest) outcome {
	t.Helper()
	var o outcome
	started, done := make(map[string]bool), make(map[string]bool)
	err := c.Check(t.Context(), req, func(e api.CheckEvent) error {
		o.events = append(o.events, e)
		switch e.Kind {
		case api.EventStarted:
			started[e.ID] = true
		case api.EventSummary:
			o.summary = *e.Summary
		case api.EventDone:
			if done[e.ID] {
				t.Errorf("%s is done twice", e.ID)
			}
			done[e.ID] = true
			o.add(t, e, slices.Contains(req.Targets, e.ID), started[e.ID])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(o.checked)
	slices.Sort(o.reused)
	slices.Sort(o.skipped)
	if got := len(o.checked) + len(o.reused) + len(o.skipped); got != len(req.Targets) {
		t.Errorf("got events for %d targets, want %d", got, len(req.Targets))
	}
	s := o.summary
	if s.Checked != len(o.checked) || s.Reused != len(o.reused) || s.Skipped != len(o.skipped) {
		t.Errorf("summary %+v does not fit %d checked, %d reused, %d skipped", s, len(o.checked), len(o.reused), len(o.skipped))
	}
	return o
}

// add adds a done event.
func (o *outcome) add(t *testing.T, e api.CheckEvent, target, started bool) {
	t.Helper()
	for _, d := range e.Diagnostics {
		if !slices.Contains(o.diagnostics, d.String()) {
			o.diagnostics = append(o.diagnostics, d.String())
		}
	}
	switch {
	case !target:
	case e.SkippedFor != "":
		o.skipped = append(o.skipped, e.ID)
	case e.Reused:
		o.reused = append(o.reused, e.ID)
	default:
		o.checked = append(o.checked, e.ID)
		if !started {
			t.Errorf("%s is done and was not started", e.ID)
		}
	}
}

// wantChecked says which targets must have been checked, where all others were reused.
func (o *outcome) wantChecked(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(o.checked, want) {
		t.Errorf("checked %q, want %q", o.checked, want)
	}
	if len(o.skipped) > 0 {
		t.Errorf("skipped %q, want none", o.skipped)
	}
}

// wantClean says that there must be no diagnostics.
func (o *outcome) wantClean(t *testing.T) {
	t.Helper()
	if len(o.diagnostics) > 0 {
		t.Errorf("got diagnostics:\n%s", strings.Join(o.diagnostics, "\n"))
	}
}

// wantDiagnostics says which diagnostics there must be.
func (o *outcome) wantDiagnostics(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(o.diagnostics, want) {
		t.Errorf("got diagnostics\n%s\nwant\n%s", strings.Join(o.diagnostics, "\n"), strings.Join(want, "\n"))
	}
}

// wantIfCgo says which diagnostics there must be where cgo is in use; elsewhere there must be none.
func (o *outcome) wantIfCgo(t *testing.T, want ...string) {
	t.Helper()
	if goVariable(t, "CGO_ENABLED") != "1" {
		want = nil
	}
	o.wantDiagnostics(t, want...)
}

func goroot(t *testing.T) string { return goVariable(t, "GOROOT") }

// goVariable returns a setting of the go command.
func goVariable(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
