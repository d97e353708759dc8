package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// The arguments with which this program plays a child of a worker.
const (
	napArg    = "nap"    // does nothing for ever
	daemonArg = "daemon" // starts a nap in a session of its own, prints its pid and exits
)

// playChild does what a child that children started is to do, and reports false for any other argument.
func playChild(arg string) bool {
	switch arg {
	case napArg:
		time.Sleep(math.MaxInt64)
	case daemonArg:
		pid, err := startNap(true)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(pid)
	default:
		return false
	}
	return true
}

// children starts processes that never end by themselves.
func children(ctx context.Context, req api.ChildrenRequest) (api.ChildrenReply, error) {
	var reply api.ChildrenReply
	for range req.Children {
		pid, err := startNap(false)
		if err != nil {
			return reply, err
		}
		reply.Children = append(reply.Children, pid)
	}
	for range req.Daemons {
		pid, err := startDaemon(ctx)
		if err != nil {
			return reply, err
		}
		reply.Daemons = append(reply.Daemons, pid)
	}
	return reply, nil
}

// startNap starts a process that does nothing and returns its pid. It is left to whoever reaps this process's children.
func startNap(detached bool) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, napArg) //nolint:noctx // it outlives the call
	if detached {
		cmd.SysProcAttr = ownSession()
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid := cmd.Process.Pid
	return pid, cmd.Process.Release()
}

// startDaemon starts a process whose parent ends, and returns its pid.
func startDaemon(ctx context.Context) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, self, daemonArg).Output()
	if err != nil {
		return 0, fmt.Errorf("start a daemon: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}
