package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// ended reports whether a process has ended, reaped or not.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestChildrenAreStarted(t *testing.T) {
	reply, err := children(t.Context(), api.ChildrenRequest{Children: 2, Daemons: 1})
	all := append(reply.Children, reply.Daemons...)
	t.Cleanup(func() {
		for _, pid := range all {
			p, err := os.FindProcess(pid)
			if err == nil {
				err = p.Kill()
			}
			if err != nil {
				t.Errorf("kill process %d: %v", pid, err)
				continue
			}
			await(t, "the process has ended", func() bool { return ended(pid) })
			_, _ = p.Wait() // succeeds only for children
		}
	})
	if err != nil || len(reply.Children) != 2 || len(reply.Daemons) != 1 {
		t.Fatalf("got %v, %v", reply, err)
	}
	for _, pid := range all {
		if ended(pid) {
			t.Errorf("process %d has ended", pid)
		}
	}
}
