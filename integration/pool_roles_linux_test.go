package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/server"
	"github.com/detached-workers/unref/transport"
)

// callsEnv names the file in which a pool's worker notes each call before it
// runs it, a line each, so that it is known however the worker ends.
const callsEnv = "POOL_CALLS"

// What a pool's test worker does besides what every test worker does.
const (
	work transport.Method[workRequest, workReply]       = "work"
	feed transport.StreamMethod[workRequest, workReply] = "feed" // N messages, with For between them
)

type (
	workRequest struct {
		ID     int
		For    time.Duration // how long it takes, if its context does not end before
		Gate   string        // the file that it waits for first
		Ignore bool          // its context
		End    string        // how it ends the worker after that time, see the method end
		Keep   int           // MiB of memory that the worker keeps
		N      int
	}
	workReply struct {
		ID, Pid int
		Args    []string
	}
)

// playPooled is a worker of a pool. If an argument says so it does not get ready.
func playPooled([]string) int {
	for _, arg := range os.Args[1:] {
		switch arg {
		case "crash":
			fmt.Println("cannot read the configuration")
			return 3
		case "hang":
			fmt.Println("waiting for the license server")
			block()
		}
	}
	calls, err := os.OpenFile(os.Getenv(callsEnv), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	must(err)
	begin := func(req workRequest) workReply {
		_, err := fmt.Fprintln(calls, req.ID, os.Getpid())
		must(err)
		return workReply{req.ID, os.Getpid(), os.Args[1:]}
	}
	mux := newMux()
	server.Handle(mux, work, func(ctx context.Context, req workRequest) (workReply, error) {
		reply := begin(req)
		return reply, handleWork(ctx, req)
	})
	server.HandleStream(mux, feed, func(ctx context.Context, req workRequest, send func(workReply) error) error {
		reply := begin(req)
		for range req.N {
			if err := errors.Join(send(reply), handleWork(ctx, req)); err != nil {
				return err
			}
		}
		return nil
	})
	server.Main(mux)
	return 0
}

// kept is memory that workers keep.
var kept struct {
	sync.Mutex
	memory [][]byte
}

func handleWork(ctx context.Context, req workRequest) error {
	if req.Keep > 0 {
		memory := make([]byte, req.Keep<<20)
		for i := 0; i < len(memory); i += 4096 {
			memory[i] = 1
		}
		kept.Lock()
		kept.memory = append(kept.memory, memory)
		kept.Unlock()
	}
	if req.Ignore {
		ctx = context.WithoutCancel(ctx)
	}
	if err := passTime(ctx, req); err != nil {
		return err
	}
	if req.End != "" {
		return endBy(req.End)
	}
	return nil
}

// passTime waits as it is asked to.
func passTime(ctx context.Context, req workRequest) error {
	timer := time.NewTimer(req.For)
	defer timer.Stop()
	for {
		_, err := os.Lstat(req.Gate)
		select {
		case <-timer.C:
			if req.Gate == "" || err == nil {
				return nil
			}
			timer.Reset(2 * time.Millisecond)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// keeping is a pool that another program has.
type keeping struct {
	Root     string
	Name     string // if the workers are shared
	Log      string
	Args     []string
	Size     int // Min and Max
	MaxCalls int
}

// keepResult is what that program says of it.
type keepResult struct {
	Pids []int // of the workers that answer
	Err  string
}

func (k *keeping) command(args ...string) *lifecycle.Command {
	cmd := within(k.Root, &lifecycle.Command{Path: executable()}, roleEnv+"=pooled", callsEnv+"="+k.Log)
	cmd.Args = args
	return cmd
}

// playKeep has a pool, which the first line of its input describes, and does
// what the others say. At the end of its input it returns from main.
func playKeep([]string) int {
	in := bufio.NewScanner(os.Stdin)
	in.Scan()
	var k keeping
	must(json.Unmarshal(in.Bytes(), &k))
	p, err := client.NewPool(client.PoolConfig{
		Command: k.command(k.Args...), Dialer: quiet(), Name: k.Name, Min: k.Size, Max: k.Size, MaxCalls: k.MaxCalls,
	})
	must(err)
	for in.Scan() {
		must(json.NewEncoder(os.Stdout).Encode(k.do(p, strings.Fields(in.Text()))))
	}
	return 0
}

func (k *keeping) do(p *client.Pool, words []string) (r keepResult) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	switch words[0] {
	case "ready":
		err = p.Ready(ctx)
	case "reload":
		err = p.Reload(k.command(words[1:]...))
		if err == nil {
			err = p.Ready(ctx)
		}
	case "load": // calls for ever
		for range 2 * k.Size {
			go func() {
				for {
					_, _ = client.Call(context.Background(), p, work, workRequest{})
				}
			}()
		}
	case "close":
		err = p.Close()
	}
	for _, a := range client.Broadcast(ctx, p, work, workRequest{}) {
		err = errors.Join(err, a.Err)
		r.Pids = append(r.Pids, a.Reply.Pid)
	}
	if err != nil {
		r.Err = err.Error()
	}
	return r
}
