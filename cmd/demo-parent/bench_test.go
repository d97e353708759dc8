package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// BenchmarkCheck checks net/http and what it needs, each time with a new process: cold with workers of its own, warm with
// those that the process before has left.
func BenchmarkCheck(b *testing.B) {
	dir, err := os.MkdirTemp("", "dp")
	if err != nil {
		b.Fatal(err)
	}
	b.Setenv("UNREF_RUNTIME_DIR", dir)
	b.Cleanup(func() {
		if err := endWorkers(dir); err != nil {
			b.Error(err)
		}
	})
	check := func(flags ...string) {
		args := append([]string{"check", "-j", "1", "net/http"}, flags...)
		cmd := exec.CommandContext(context.Background(), filepath.Join(binDir, "demo-parent"), args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
	}
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			check("-fresh")
		}
	})
	check()
	b.Run("warm", func(b *testing.B) {
		for b.Loop() {
			check()
		}
	})
}
