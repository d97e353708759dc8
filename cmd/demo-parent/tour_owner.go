package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/cmd/demo-worker/api"
	"github.com/detached-workers/unref/lifecycle"
)

// ownerCommand is the command, not meant for users, with which this program plays the owner that dies.
const ownerCommand = "tour-owner"

// household is what an owner says of what depends on it.
type household struct {
	Worker   int
	Children []int
	Daemons  []int
	Socket   string
	Dir      string
}

// runOwner starts a worker with children, says on stdout what there is, and waits for its own end: by force, or that of
// its standard input.
func runOwner(ctx context.Context, args []string, stdout io.Writer, _ *os.File) error {
	if len(args) != 1 {
		return errors.New(ownerCommand + " is for the tour only")
	}
	d := client.Dialer{Logger: newLogger(&display{out: io.Discard}, false)}
	w, err := d.Start(ctx, &lifecycle.Command{Path: args[0]})
	if err != nil {
		return err
	}
	defer w.Close()
	reply, err := client.Call(ctx, w, api.Children, api.ChildrenRequest{Children: 2, Daemons: 1})
	if err != nil {
		return err
	}
	h := household{w.Pid(), reply.Children, reply.Daemons, w.Process().Socket(), w.Process().Dir()}
	if err := json.NewEncoder(stdout).Encode(h); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func (t *tour) visitOwnerDeath(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	owner := exec.CommandContext(ctx, self, ownerCommand, t.command.Path)
	owner.Stderr = os.Stderr
	if _, err := owner.StdinPipe(); err != nil { // it ends when we do
		return err
	}
	out, err := owner.StdoutPipe()
	if err != nil {
		return err
	}
	if err := owner.Start(); err != nil {
		return err
	}
	defer end(owner)
	var h household
	if err := json.NewDecoder(out).Decode(&h); err != nil {
		return fmt.Errorf("the owner did not start its worker: %w", err)
	}
	t.did("start an owner, pid %d; its worker has pid %d, children %v and a daemon %v in a session of its own",
		owner.Process.Pid, h.Worker, h.Children, h.Daemons)
	if missing := h.are(false); len(missing) > 0 {
		return fmt.Errorf("there should be %s", strings.Join(missing, ", "))
	}
	if err := owner.Process.Kill(); err != nil {
		return err
	}
	t.did("kill the owner")
	return t.vanished(ctx, h)
}

// end ends an owner that may have been killed before, so that errors say nothing.
func end(owner *exec.Cmd) {
	_ = owner.Process.Kill()
	_ = owner.Wait()
}

// vanished waits until nothing is left of a household, and says when what was gone.
func (t *tour) vanished(ctx context.Context, h household) error {
	began := time.Now()
	was := h.are(true)
	ok := await(ctx, func() bool {
		is := h.are(true)
		if gone := without(was, is); len(gone) > 0 {
			t.saw("gone after %s: %s", short(time.Since(began)), strings.Join(gone, ", "))
		}
		was = is
		return len(is) == 0
	})
	if !ok {
		return fmt.Errorf("still there after %s: %s", short(time.Since(began)), strings.Join(was, ", "))
	}
	return nil
}

// are returns the names of the members that exist, or of those that do not.
func (h household) are(there bool) []string {
	var names []string
	add := func(name string, exists bool) {
		if exists == there {
			names = append(names, name)
		}
	}
	add(fmt.Sprintf("worker %d", h.Worker), alive(h.Worker))
	for _, pid := range h.Children {
		add(fmt.Sprintf("child %d", pid), alive(pid))
	}
	for _, pid := range h.Daemons {
		add(fmt.Sprintf("daemon %d", pid), alive(pid))
	}
	add("its socket", exists(h.Socket))
	add("its directory", exists(h.Dir))
	return names
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// without returns what is in the first list and not in the second.
func without(list, remove []string) []string {
	var left []string
	for _, name := range list {
		if !slices.Contains(remove, name) {
			left = append(left, name)
		}
	}
	return left
}
