package integration_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/detached-workers/unref/client"
)

// guide is the tool of the guide, built, with a directory to count in.
type guide struct {
	t   *testing.T
	bin string
	dir string
}

// buildGuide builds the programs of the guide, and gives their workers a runtime directory, with which they end.
func buildGuide(t *testing.T) *guide {
	t.Helper()
	g := &guide{t: t, bin: buildPrograms(t, "./docs_guide/mytool", "./docs_guide/mytool-worker"), dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(g.dir, "a.txt"), []byte("to be or not to be"), 0o600); err != nil {
		t.Fatal(err)
	}
	endWorkers(t)
	return g
}

// buildPrograms builds programs and returns the directory that they are in.
func buildPrograms(t *testing.T, packages ...string) string {
	t.Helper()
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", append([]string{"build", "-o", bin}, packages...)...)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// endWorkers gives the test a runtime directory, and ends the workers that are in it afterwards.
func endWorkers(t *testing.T) {
	t.Helper()
	runtimeDir, err := os.MkdirTemp("", "dg")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("UNREF_RUNTIME_DIR", runtimeDir)
	t.Cleanup(func() {
		d := client.Dialer{RuntimeDir: runtimeDir}
		list, err := d.List(context.Background())
		for _, info := range list {
			err = errors.Join(err, d.Stop(context.Background(), info.ID))
		}
		if err != nil {
			t.Error(err)
		}
		os.RemoveAll(runtimeDir)
	})
}

// run runs the tool and returns what it prints on standard output and on standard error.
func (g *guide) run(args ...string) (stdout, stderr string) {
	g.t.Helper()
	cmd := exec.CommandContext(context.Background(), filepath.Join(g.bin, "mytool"), args...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		g.t.Errorf("mytool %q: %v\n%s", args, err, log.String())
	}
	return out.String(), log.String()
}

// says fails the test unless the tool prints what the patterns match.
func (g *guide) says(stdout, stderr string, args ...string) {
	g.t.Helper()
	out, log := g.run(args...)
	for pattern, text := range map[string]string{stdout: out, stderr: log} {
		if !regexp.MustCompile(pattern).MatchString(text) {
			g.t.Errorf("mytool %q printed %q, want a match of %q", args, text, pattern)
		}
	}
}

func TestDocsToolOfTheGuideFindsItsWorkerAgain(t *testing.T) {
	g := buildGuide(t)
	g.says(`^6 words in 1 files \(1 read\)\n$`, `^level=info msg="started: no worker has this name; pid \d+"\n`, "-v", g.dir)
	g.says(`^6 words in 1 files \(0 read\)\n$`, `^level=info msg="reused: worker \d+, started .* ago, answered and has the same configuration; pid \d+"\n`, "-v", g.dir)
	g.says(`^1 words in 1 files \(1 read\)\n$`,
		`^level=info msg="replaced: worker \d+: its configuration is another one: config was \{\} and is \{\\"min_length\\":3\}; pid \d+"\n`, "-v", "-min", "3", g.dir)
	g.says(`^1 words in 1 files \(0 read\)\n$`, `^$`, "-min", "3", g.dir)
	g.says(`^\d+  mytool .*\n$`, `^$`, "daemon", "status")
	g.says(`(?s)msg="counted .*msg="counted `, `^$`, "daemon", "log")
	g.says(`^stopped \d+\n$`, `^$`, "daemon", "stop")
	g.says(`^$`, ``, "daemon", "stop")
}

func TestDocsLogOfTheGuideShowsWhatAQuietRunLeft(t *testing.T) {
	g := buildGuide(t)
	g.says(`^6 words in 1 files \(1 read\)\n$`, `^$`, g.dir)
	g.says(`^level=info msg="counted .*\n$`, `^$`, "daemon", "log")
}

func TestDocsToolOfTheGuideRefusesWhatItDoesNotKnow(t *testing.T) {
	g := buildGuide(t)
	for _, args := range [][]string{{"daemon", "bogus"}, {"daemon"}, {"-bogus"}} {
		out, err := exec.CommandContext(t.Context(), filepath.Join(g.bin, "mytool"), args...).CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.HasPrefix(string(out), "mytool: ") {
			t.Errorf("mytool %q: got %v and %q, want a message and status 1", args, err, out)
		}
	}
	g.says(`^Usage: mytool (?s).*-no-daemon\n`, `^$`, "-h")
}

func TestDocsWorkerOfTheGuideCanBeAProgramOfItsOwn(t *testing.T) {
	g := buildGuide(t)
	worker := filepath.Join(g.bin, "mytool-worker")
	g.says(`^1 words in 1 files \(1 read\)\n$`, `started: no worker has this name`, "-v", "-worker", worker, "-min", "3", g.dir)
	g.says(`^1 words in 1 files \(0 read\)\n$`, `reused: `, "-v", "-worker", worker, "-min", "3", g.dir)
}

func TestDocsReadmeAttachesToTheWorkerOfTheRunBefore(t *testing.T) {
	bin := buildPrograms(t, "./docs_guide/short", "./docs_readme/worker")
	endWorkers(t)
	for _, want := range []string{`^6 words; started: no worker has this name\n$`, `^6 words; reused: worker \d+, started .* ago`} {
		out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "short"), filepath.Join(bin, "worker")).Output()
		if err != nil || !regexp.MustCompile(want).Match(out) {
			t.Errorf("got %q, %v, want a match of %q", out, err, want)
		}
	}
}
