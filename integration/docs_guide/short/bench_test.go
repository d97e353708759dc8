package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
)

// hello is the least that a Go program does.
const hello = `package main

import "fmt"

func main() { fmt.Println("hello, world") }
`

// silent is the worker of the README but for its line of output.
const silent = `package main

import (
	"context"
	"strings"

	"github.com/detached-workers/unref/integration/docs_readme/api"
	"github.com/detached-workers/unref/server"
)

func main() {
	var mux server.Mux
	server.Handle(&mux, api.Count, func(_ context.Context, req api.CountRequest) (api.CountReply, error) {
		return api.CountReply{Words: len(strings.Fields(req.Text))}, nil
	})
	server.Main(&mux)
}
`

// variant is one way to run a program.
type variant struct {
	name string
	line []string
	dir  string // of its worker: two under one name would replace each other
	took []time.Duration
}

// once runs the program to its end.
func (r *variant) once(b *testing.B) {
	b.Helper()
	cmd := exec.CommandContext(context.Background(), r.line[0], r.line[1:]...)
	cmd.Env = append(os.Environ(), "UNREF_RUNTIME_DIR="+r.dir)
	var log bytes.Buffer
	cmd.Stderr = &log
	start := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s: %v\n%s", r.name, err, log.String())
	}
	r.took = append(r.took, time.Since(start))
}

// runtimeDir returns a runtime directory, and ends the workers that are in it afterwards.
func runtimeDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("", "sh")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		d := client.Dialer{RuntimeDir: dir}
		list, err := d.List(context.Background())
		for _, info := range list {
			err = errors.Join(err, d.Stop(context.Background(), info.ID))
		}
		if err != nil {
			b.Error(err)
		}
		os.RemoveAll(dir)
	})
	return dir
}

// written writes the source of a program and returns the path of the file.
func written(b *testing.B, source string) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "main.go")
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// goBuild builds a program and returns its path.
func goBuild(b *testing.B, cgo, name, from string, flags ...string) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), name)
	cmd := exec.CommandContext(b.Context(), "go", slices.Concat([]string{"build", "-o", path}, flags, []string{from})...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return path
}

// BenchmarkShort runs the program of the README to its end: built with cgo, without, and with the tags that leave the C
// library out; with a worker that prints a line for each call and with one that does not; and beside them a program that
// prints a line. In each turn all of them run, in random order; the metrics are medians.
func BenchmarkShort(b *testing.B) {
	quiet, printing := goBuild(b, "0", "worker", written(b, silent)), goBuild(b, "0", "worker", "../../docs_readme/worker")
	static, cgo := goBuild(b, "0", "short", "."), goBuild(b, "1", "short", ".")
	tags := goBuild(b, "1", "short", ".", "-tags", "netgo,osusergo")
	forQuiet, forPrinting := runtimeDir(b), runtimeDir(b)
	runs := []*variant{
		{name: "hello", line: []string{goBuild(b, "0", "hello", written(b, hello))}},
		{name: "static", line: []string{static, quiet}, dir: forQuiet},
		{name: "static+line", line: []string{static, printing}, dir: forPrinting},
		{name: "tags", line: []string{tags, quiet}, dir: forQuiet},
		{name: "cgo", line: []string{cgo, quiet}, dir: forQuiet},
		{name: "cgo+line", line: []string{cgo, printing}, dir: forPrinting},
	}
	for _, r := range runs { // starts the workers
		r.once(b)
		r.took = nil
	}
	for b.Loop() {
		for _, i := range rand.Perm(len(runs)) {
			runs[i].once(b)
		}
	}
	b.ReportMetric(0, "ns/op") // of all together says nothing
	for _, r := range runs {
		slices.Sort(r.took)
		b.ReportMetric(float64(r.took[len(r.took)/2])/1e6, "ms-"+r.name)
	}
}
