package typecheck

import (
	"testing"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// checkHTTP plans and checks net/http with its tests.
func checkHTTP(b *testing.B, checker *Checker, dir string) {
	b.Helper()
	plan, err := checker.Plan(b.Context(), api.PlanRequest{Dir: dir, Patterns: []string{"net/http"}})
	if err != nil {
		b.Fatal(err)
	}
	send := func(api.CheckEvent) error { return nil }
	if err := checker.Check(b.Context(), plan.Request(plan.Targets()...), send); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkCold(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		checkHTTP(b, new(Checker), dir)
	}
}

func BenchmarkWarm(b *testing.B) {
	dir, checker := b.TempDir(), new(Checker)
	checkHTTP(b, checker, dir)
	for b.Loop() {
		checkHTTP(b, checker, dir)
	}
}
