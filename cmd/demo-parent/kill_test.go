package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// crowd is a module of many packages that take a moment each. They import the one before them or begin a new chain, and
// some have errors.
func crowd(t *testing.T) string {
	t.Helper()
	files := make(map[string]string)
	for i := range 18 {
		text := fmt.Sprintf("package p%02d\n\n", i)
		if i%8 > 0 {
			text += fmt.Sprintf("import \"example.com/m/p%02d\"\n\nvar V int = p%02d.V\n", i-1, i-1)
		} else {
			text += "import \"strconv\"\n\nvar V, _ = strconv.Atoi(\"1\")\n"
		}
		for n := range 200 {
			text += fmt.Sprintf("\nfunc F%d(list []int) (sum int) {\n\tfor i, n := range list {\n\t\tsum += i * n\n\t}\n\treturn sum\n}\n", n)
		}
		switch {
		case i%5 == 2:
			text += "\nfunc F() int { return \"F\" }\n" // an error in a body, which concerns nobody else
		case i == 13:
			text += "\nvar W int = \"W\"\n" // one in a declaration, for which those that import it are skipped
		}
		files[fmt.Sprintf("p%02d/p.go", i)] = text
	}
	return newModule(t, files)
}

// reaper ends the worker of each share that gets something done, again and again. It is the display's writer, which learns
// of each package that is done.
type reaper struct {
	t      *testing.T
	crew   *crew
	shares map[string]int // by package
	killed []int
}

func (r *reaper) Write(p []byte) (int, error) {
	words := strings.Fields(string(p))
	if len(words) < 2 || words[0] != "checked" {
		return len(p), nil
	}
	pid := inSlot(r.crew.pool, r.shares[words[1]])
	if slices.Contains(r.killed, pid) {
		return len(p), nil
	}
	r.killed = append(r.killed, pid)
	if err := kill(pid); err != nil {
		r.t.Error(err)
	}
	return len(p), nil
}

// inSlot returns the worker that came into a slot last.
func inSlot(p *client.Pool, slot int) (pid int) {
	past, cancel := context.WithCancel(context.Background())
	cancel()
	for e := range p.Events(past) {
		if e.Kind == client.WorkerReady && e.Slot == slot {
			pid = e.Pid
		}
	}
	return pid
}

// A worker that is killed in the middle of a check costs time and nothing else.
// LESSONS 26
func TestAWorkerKilledInTheMiddleOfACheckChangesNoResult(t *testing.T) {
	for name, describe := range map[string]func(*testing.T, int) (crewConfig, *told){"own": ownCrew, "shared": sharedCrew} {
		t.Run(name, func(t *testing.T) {
			cfg, told := describe(t, 1)
			killInTheMiddle(t, startCrew(t, cfg))
			if lines := told.all(); len(lines) != 1 || !strings.Contains(lines[0], "another worker goes on") {
				t.Errorf("the user was told %q, want one line about another worker", lines)
			}
		})
	}
}

// killInTheMiddle kills the worker of a check, and compares the results with those of any other.
func killInTheMiddle(t *testing.T, workers *crew) {
	dir := newModule(t, map[string]string{
		"a/a.go": "package a\n\nvar A int = \"a\"\n",
		"b/b.go": "package b\n\nimport \"net/http\"\n\nvar B http.Client = 1\n",
	})
	c := &checker{request: api.PlanRequest{Dir: dir, Patterns: []string{"./..."}}, crew: workers, display: &display{out: t.Output()}}
	plan, err := c.plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	victim := workers.arrived(planSlot)[0].Pid
	r := newResult(1, plan)
	events := make(chan api.CheckEvent)
	var check sync.WaitGroup
	check.Go(func() {
		err = workers.check(t.Context(), 0, plan, plan.Targets(), events)
		close(events)
	})
	for e := range events {
		if victim != 0 {
			if err := kill(victim); err != nil {
				t.Error(err)
			}
			victim = 0
		}
		r.add(e)
	}
	check.Wait()
	if err != nil {
		t.Fatal(err)
	}
	want := "a/a.go:3:13: cannot use \"a\" (untyped string constant) as int value in variable declaration\n" +
		"b/b.go:5:21: cannot use 1 (untyped int constant) as http.Client value in variable declaration\n"
	if got := string(r.text()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// However often workers are killed in the course of a check, its outcome is that of any other, and it says which workers
// there were.
// LESSONS 26
func TestWorkersKilledAgainAndAgainChangeNoResult(t *testing.T) {
	request := api.PlanRequest{Dir: crowd(t), Patterns: []string{"./..."}}
	for name, describe := range map[string]func(*testing.T, int) (crewConfig, *told){"own": ownCrew, "shared": sharedCrew} {
		t.Run(name, func(t *testing.T) {
			cfg, told := describe(t, 3)
			want := checkWith(t, cfg, request, nil)
			if lines := told.all(); len(lines) > 0 {
				t.Errorf("of an undisturbed check the user was told %q", lines)
			}
			if cfg.group != "" {
				stopAll(t, os.Getenv("UNREF_RUNTIME_DIR"))
			}
			r := &reaper{t: t, shares: make(map[string]int)}
			for i, share := range want.plan.Split(cfg.size) {
				for _, id := range share.Targets {
					r.shares[id] = i
				}
			}
			got := checkWith(t, cfg, request, r)
			for _, pid := range r.killed {
				if !await(t.Context(), func() bool { return !alive(pid) }) {
					t.Errorf("worker %d does not die", pid)
				}
			}
			if !bytes.Equal(got.text(), want.text()) || !bytes.Equal(essence(t, got), essence(t, want)) {
				t.Errorf("got\n%s%s\nwant\n%s%s", got.text(), essence(t, got), want.text(), essence(t, want))
			}
			if len(r.killed) < cfg.size {
				t.Errorf("%d workers were killed, want one of each share at least", len(r.killed))
			}
			for _, pid := range r.killed {
				if !slices.ContainsFunc(got.arrivals, func(a arrival) bool { return a.Pid == pid }) {
					t.Errorf("worker %d was killed in the course of the check, which knows only of %v", pid, got.arrivals)
				}
			}
		})
	}
}

// checkWith makes one check with a crew of its own, of which a reaper takes some if it is not nil.
func checkWith(t *testing.T, cfg crewConfig, request api.PlanRequest, r *reaper) *result {
	t.Helper()
	c := &checker{request: request, crew: startCrew(t, cfg), display: &display{out: t.Output()}, verbose: true}
	if r != nil {
		r.crew, c.display.out = c.crew, r
	}
	defer c.crew.close(t.Context())
	result, err := c.round(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// stopAll ends the workers in a runtime directory.
func stopAll(t *testing.T, dir string) {
	t.Helper()
	d := client.Dialer{RuntimeDir: dir}
	for _, info := range workersIn(t, dir) {
		if err := d.Stop(t.Context(), info.ID); err != nil && !errors.Is(err, client.ErrNoWorker) {
			t.Fatal(err)
		}
	}
}

// essence returns what a result says of the packages.
func essence(t *testing.T, r *result) []byte {
	t.Helper()
	d := r.document()
	return essenceOf(t, &d)
}

func essenceOf(t *testing.T, d *document) []byte {
	t.Helper()
	d.ElapsedMS, d.Warmth, d.Arrivals, d.Deps = 0, "", nil, dependencies{}
	for i := range d.Packages {
		d.Packages[i].ElapsedMS = 0
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Nothing of what a user sees of a check depends on whether somebody kills its workers by hand.
// LESSONS 26
func TestAProgramWhoseWorkersAreKilledSaysTheSame(t *testing.T) {
	module := crowd(t)
	for _, fresh := range []string{"-fresh=true", "-fresh=false"} {
		t.Run(fresh, func(t *testing.T) {
			dir := newRuntimeDir(t)
			args := []string{"check", "-json", "-j", "4", "-C", module, fresh, "./..."}
			wantStatus, want := runKilling(t, dir, 0, args...)
			stopAll(t, dir)
			// As many as are not given up however little gets done in between.
			status, got := runKilling(t, dir, 2, args...)
			if status != wantStatus || !bytes.Equal(got, want) {
				t.Errorf("got exit status %d and\n%s\nwant %d and\n%s", status, got, wantStatus, want)
			}
		})
	}
}

// runKilling runs demo-parent, and kills most workers of each name as soon as they are there.
func runKilling(t *testing.T, dir string, most int, args ...string) (status int, outcome []byte) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(binDir, "demo-parent"), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() { killMost(t, dir, most, ended) })
	_ = cmd.Wait() // the status says it
	close(ended)
	killer.Wait()
	var d document
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatalf("%v of %q", err, out.String())
	}
	return cmd.ProcessState.ExitCode(), essenceOf(t, &d)
}

// killMost kills most workers of each name in a directory, until it is told that they have nothing to do any more.
func killMost(t *testing.T, dir string, most int, ended <-chan struct{}) {
	killed := make(map[string][]int)
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for {
		select {
		case <-ended:
			t.Logf("killed: %v", killed)
			return
		case <-pause.C:
		}
		for _, info := range workersIn(t, dir) {
			if list := killed[info.Name]; info.Pid == 0 || len(list) >= most || slices.Contains(list, info.Pid) {
				continue
			}
			killed[info.Name] = append(killed[info.Name], info.Pid)
			_ = kill(info.Pid) // it may have left
		}
	}
}
