//go:build unix

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/detached-workers/unref/client"
)

// program is demo-parent, running.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr *bufio.Scanner
	stdout bytes.Buffer
}

func startProgram(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.CommandContext(t.Context(), "demo-parent", args...)}
	p.cmd.Stdout = &p.stdout
	pipe, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stderr = bufio.NewScanner(pipe)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	return p
}

// await reads standard error up to a line that begins with a text, and returns the line.
func (p *program) await(prefix string) string {
	p.t.Helper()
	var seen []string
	for p.stderr.Scan() {
		line := p.stderr.Text()
		if strings.HasPrefix(line, prefix) {
			return line
		}
		seen = append(seen, line)
	}
	p.t.Fatalf("no line %q among %q", prefix, seen)
	return ""
}

// interrupt ends the program as Ctrl-C does, and returns its exit status.
func (p *program) interrupt() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatal(err)
	}
	for p.stderr.Scan() {
		p.t.Logf("stderr: %s", p.stderr.Text())
	}
	err := p.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return 0
}

func TestWatchChecksAgainWhatHasChanged(t *testing.T) {
	newRuntimeDir(t)
	dir := chain(t)
	p := startProgram(t, "check", "-watch", "-C", dir, "./...")
	p.await("cold: 4 packages")
	write(t, filepath.Join(dir, "b", "b.go"), "package b\n\nfunc B() int { return \"b\" }\n\nfunc More() {}\n")
	p.await("changed: " + filepath.Join(dir, "b"))
	if got, want := p.await("checked again: "), "checked again: example.com/m/b, example.com/m/c"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	p.await("warm: 4 packages")
	write(t, filepath.Join(dir, "go.mod"), "nonsense\n")
	p.await("could not check: ")
	write(t, filepath.Join(dir, "go.mod"), "module example.com/m\n\ngo 1.26\n")
	p.await("warm: 4 packages")
	if status := p.interrupt(); status != exitInterrupt {
		t.Errorf("after an interrupt the exit status is %d, want %d", status, exitInterrupt)
	}
	if got := p.stdout.String(); !strings.HasPrefix(got, "b/b.go:3:23: cannot use") || strings.Count(got, "\n") != 1 {
		t.Errorf("stdout is %q, want one diagnostic", got)
	}
}

func TestAnInterruptEndsACheckAndItsWorkers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	t.Setenv("UNREF_RUNTIME_DIR", dir)
	p := startProgram(t, "check", "-fresh", "-v", "-j", "2", "net/...")
	p.await("checked ")
	if status := p.interrupt(); status != exitInterrupt {
		t.Errorf("the exit status is %d, want %d", status, exitInterrupt)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("when it ended its workers had %v (%v)", entries, err)
	}
}

// A worker that others may use is not ended by an interrupt, but what it does for us is.
func TestAnInterruptEndsACheckAndNotItsSharedWorkers(t *testing.T) {
	dir := newRuntimeDir(t)
	p := startProgram(t, "check", "-v", "-j", "2", "net/...")
	p.await("checked ")
	if status := p.interrupt(); status != exitInterrupt {
		t.Errorf("the exit status is %d, want %d", status, exitInterrupt)
	}
	var list []client.Info
	ok := await(t.Context(), func() bool {
		list = workersIn(t, dir)
		return !slices.ContainsFunc(list, func(i client.Info) bool { return i.Status == nil || i.Status.Clients > 0 })
	})
	if !ok || len(list) != 2 {
		t.Errorf("afterwards there are the workers %+v, want two without clients", list)
	}
}

// LESSONS 13
func TestAClosedPipeEndsItQuietly(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	cmd := exec.Command("demo-parent", "check", "-fresh", "-json", "-C", chain(t))
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = writer, &stderr
	err = cmd.Run()
	writer.Close()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != exitPipe || stderr.Len() > 0 {
		t.Errorf("got %v and %q, want exit status %d and silence", err, stderr.String(), exitPipe)
	}
}

// Nobody who reads the output of a program that has workers waits for the workers.
// LESSONS 1
func TestAKilledParentLeavesNobodyWaiting(t *testing.T) {
	newRuntimeDir(t)
	p := startProgram(t, "check", "-watch", "-C", chain(t), "./...")
	p.await("cold: ")
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for p.stderr.Scan() { // until the last one that could write has gone
		t.Logf("stderr: %s", p.stderr.Text())
	}
	if err := p.stderr.Err(); err != nil && !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	_ = p.cmd.Wait() // it was killed
}

// LESSONS 26
func TestAWorkerKilledBeforeItWasReadyIsMissedByNobody(t *testing.T) {
	cfg, told := ownCrew(t, 1)
	script := filepath.Join(t.TempDir(), workerName)
	text := fmt.Sprintf("#!/bin/sh\nif mkdir %q; then kill -9 $$; fi\nexec %q\n", script+".killed", cfg.command.Path)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	cfg.command.Path = script
	if err := startCrew(t, cfg).square(t.Context(), 0); err != nil {
		t.Error(err)
	}
	if lines := told.all(); len(lines) != 1 || !strings.Contains(lines[0], "before it was ready; another one is started") {
		t.Errorf("the user was told %q, want one line", lines)
	}
}
