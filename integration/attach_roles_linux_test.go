package integration

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/server"
	"github.com/detached-workers/unref/transport"
)

// The variables that tell a shared worker what to do.
const (
	logEnv    = "SHARED_LOG"    // the directory for what it notes, none if empty
	gateEnv   = "SHARED_GATE"   // the file that it waits for before it serves
	beforeEnv = "SHARED_BEFORE" // the order of the program that it runs before it serves, as JSON
	flavorEnv = "SHARED_FLAVOR" // tells workers apart
)

// startsName is the file in which each worker notes its pid, a line each.
const startsName = "starts"

// visit is what the shared test worker does besides what every test worker does.
const visit transport.Method[visitRequest, visitReply] = "visit"

type (
	visitRequest struct {
		N    int
		Gate string // the file that the answer waits for
		CLI  *order // of the program to run from within
	}
	visitReply struct {
		N      int // one more
		Pid    int
		Args   []string
		Flavor string
		Config json.RawMessage
		Dir    string
		Inner  *result // of the program run from within
		Before *result // of the program run before serving
	}
)

// playShared is a shared worker.
func playShared([]string) int {
	w, err := lifecycle.Current()
	must(err)
	presence := &presence{}
	if dir := os.Getenv(logEnv); dir != "" {
		presence.path = filepath.Join(dir, w.ID+".span")
		noteStart(filepath.Join(dir, startsName))
	}
	awaitFile(os.Getenv(gateEnv))
	var before *result
	if text := os.Getenv(beforeEnv); text != "" {
		var o order
		must(json.Unmarshal([]byte(text), &o))
		if o.Name == "" {
			o.Name = w.SharedName + "+" // which runs another one in turn
		}
		before = o.delegate(context.Background())
	}
	mux := newMux()
	server.Handle(mux, visit, func(ctx context.Context, req visitRequest) (visitReply, error) {
		defer presence.enter()()
		awaitFile(req.Gate)
		dir, err := os.Getwd()
		reply := visitReply{
			N: req.N + 1, Pid: os.Getpid(), Args: os.Args[1:], Flavor: os.Getenv(flavorEnv), Dir: dir, Before: before,
		}
		if req.CLI != nil {
			reply.Inner = req.CLI.delegate(ctx)
		}
		return reply, errors.Join(err, w.DecodeConfig(&reply.Config))
	})
	server.Main(mux)
	return 0
}

func noteStart(path string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	must(err)
	_, err = fmt.Fprintln(f, os.Getpid())
	must(errors.Join(err, f.Close()))
}

func awaitFile(path string) {
	for there := path == ""; !there; time.Sleep(time.Millisecond) {
		_, err := os.Lstat(path)
		there = err == nil
	}
}

// presence notes the time from the first call of a worker to the end of its
// last one so far, in a file, so that it is known however the worker ends.
type presence struct {
	path string // none if empty

	mu   sync.Mutex // protects what follows
	file *os.File
}

// enter begins a call, and returns what ends it.
func (p *presence) enter() (leave func()) {
	if p.path == "" {
		return func() {}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == nil {
		var err error
		p.file, err = os.Create(p.path)
		must(err)
		p.note(0)
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.note(8)
	}
}

func (p *presence) note(offset int64) {
	_, err := p.file.WriteAt(binary.BigEndian.AppendUint64(nil, uint64(monotonic())), offset)
	must(err)
}

// monotonic is a clock that all processes share, in nanoseconds.
func monotonic() int64 {
	var now unix.Timespec
	must(unix.ClockGettime(unix.CLOCK_MONOTONIC, &now))
	return now.Nano()
}

// order is what a program is to do with a shared worker.
type order struct {
	Root   string // the runtime directory
	Name   string // of the worker
	Env    []string
	Args   []string
	Idle   time.Duration
	Limits lifecycle.Limits
	Owned  bool // this process owns the worker
	Rounds int  // of attaching, one call and closing; 0 means 1
	Pause  time.Duration
	Again  bool          // when the worker exits during the call, which is no failure then
	Stay   bool          // attached
	Limit  time.Duration // 0 means patience
}

// result is how it went.
type result struct {
	Pid     int // of the last worker
	Dir     string
	Action  client.Action // of the last attach
	Rounds  int
	Lost    int // calls, because their worker exited
	Err     string
	Nested  bool // Err is lifecycle.ErrNested
	Elapsed time.Duration
}

// shared describes the shared test worker.
func shared(root string, env ...string) *lifecycle.Command {
	return within(root, &lifecycle.Command{Path: executable()}, append(env, roleEnv+"=shared")...)
}

func (o *order) command() *lifecycle.Command {
	cmd := shared(o.Root, o.Env...)
	cmd.Args, cmd.IdleTimeout, cmd.Limits = o.Args, o.Idle, o.Limits
	if o.Owned {
		var err error
		cmd.Owner, err = lifecycle.OwnerProcess(os.Getpid())
		must(err)
	}
	return cmd
}

// text is the order as a program reads it.
func (o *order) text() string {
	text, err := json.Marshal(o)
	must(err)
	return string(text)
}

func (o *order) perform(ctx context.Context) *result {
	r, began := &result{}, time.Now()
	limit := o.Limit
	if limit == 0 {
		limit = patience
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var err error
	for r.Rounds < max(o.Rounds, 1) && err == nil {
		if err = o.visit(ctx, r); o.Again && errors.Is(err, client.ErrWorkerExited) {
			r.Lost++
			err = nil
			continue
		}
		r.Rounds++
		if o.Pause > 0 {
			meanwhile(rand.N(o.Pause))
		}
	}
	if err != nil {
		r.Err, r.Nested = err.Error(), errors.Is(err, lifecycle.ErrNested)
	}
	r.Elapsed = time.Since(began)
	return r
}

func (o *order) visit(ctx context.Context, r *result) error {
	w, err := quiet().Attach(ctx, o.Name, o.command())
	if err != nil {
		if o.Again {
			return fmt.Errorf("%v", err) // not a lost call, whatever it wraps
		}
		return err
	}
	if !o.Stay {
		defer w.Close()
	}
	n := rand.Int()
	reply, err := client.Call(ctx, w, visit, visitRequest{N: n})
	if err != nil {
		return err
	}
	r.Pid, r.Dir, r.Action = reply.Pid, w.Process().Dir(), w.Decision().Action
	if reply.N != n+1 {
		return fmt.Errorf("got %d, want %d", reply.N, n+1)
	}
	return nil
}

// delegate has another program do it.
func (o *order) delegate(ctx context.Context) *result {
	cmd := exec.CommandContext(ctx, executable())
	cmd.Env = append(os.Environ(), roleEnv+"=cli "+rawOrder)
	in, err := cmd.StdinPipe()
	must(err)
	out, err := cmd.StdoutPipe()
	must(err)
	cmd.Stderr = os.Stderr
	must(cmd.Start())
	_, err = fmt.Fprintln(in, o.text())
	must(errors.Join(err, in.Close()))
	r := new(result)
	must(json.NewDecoder(out).Decode(r))
	must(cmd.Wait())
	return r
}

const rawOrder = "once" // a CLI that does not greet

// playCLI does what it is told, an order a line, and says how it went. At the
// end of its input it returns.
func playCLI(args []string) int {
	if len(args) == 0 {
		fmt.Println("ready")
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var o order
		must(json.Unmarshal(in.Bytes(), &o))
		must(json.NewEncoder(os.Stdout).Encode(o.perform(context.Background())))
	}
	must(in.Err())
	return 0
}
