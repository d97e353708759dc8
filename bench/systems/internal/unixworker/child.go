package unixworker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// child is a worker process, seen from its starter: this program in its role as
// worker, with a Unix socket of its own.
type child struct {
	socket string
	cmd    *exec.Cmd
}

// patience is how long a child may take to end when it is asked to.
const patience = 2 * time.Second

// listening is what a child prints when it listens.
const listening = "listening\n"

// startChild starts this program as a worker and returns when it listens. ctx
// bounds the start only.
func startChild(ctx context.Context) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "w")
	if err != nil {
		return nil, err
	}
	c := &child{socket: filepath.Join(dir, "s")}
	c.cmd = exec.CommandContext(context.WithoutCancel(ctx), self, "worker", c.socket)
	c.cmd.Stderr = os.Stderr
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, nil
}

func (c *child) start(ctx context.Context) error {
	// The child sees the end of its standard input when this process dies.
	if _, err := c.cmd.StdinPipe(); err != nil {
		return err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	defer stdout.Close()
	if err := c.cmd.Start(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = c.cmd.Process.Kill() })()
	if _, err := io.ReadFull(stdout, make([]byte, len(listening))); err != nil {
		return errors.Join(fmt.Errorf("the worker does not listen: %w", err), c.cmd.Wait())
	}
	return nil
}

// close asks the child to end, which it does at once unless it has a profile to
// write, kills it if it does not, and removes its socket.
func (c *child) close() error {
	kill := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	_ = c.cmd.Wait()                          // how a worker ends is not measured here
	return os.RemoveAll(filepath.Dir(c.socket))
}

// serve is the child: it runs answer on the socket that startChild chose.
func serve(answer func(net.Listener) error) error {
	if len(os.Args) < 3 {
		return errors.New("no socket to listen on")
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", os.Args[2])
	if err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString(listening); err != nil {
		return err
	}
	return answer(l)
}

// ExitWithParent ends a child when its standard input does, and runs in a
// goroutine of its own: the plainest watch over a parent that there is.
func ExitWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}
