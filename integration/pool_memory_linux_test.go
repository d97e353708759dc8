//go:build !race

package integration

import (
	"errors"
	"testing"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// A program that is built to be tested for races takes memory in its own way, and
// ends in another one. LESSONS 34
func TestPoolSaysThatAWorkerHasEndedForWantOfMemory(t *testing.T) {
	t.Parallel()
	p := poolWithin(t, lifecycle.Limits{Memory: 1 << 30})
	if _, err := client.Call(limited(t), p, swell, 4<<30); !errors.Is(err, client.ErrWorkerExited) {
		t.Errorf("got %v", err)
	}
	awaitLimitedEnd(t, p, "over its limit of 1 GiB of memory")
}
