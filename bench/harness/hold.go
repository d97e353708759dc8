package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"
)

// atOnce is how many workers are started at a time.
const atOnce = 8

// Holding is what a holder prints, as one JSON object in a line, when its
// workers are there and each has answered a call. It ends its workers and exits
// when its standard input ends.
type Holding struct {
	Workers []Held `json:"workers"`

	// One is the holder's state with one worker, All with all of them.
	One State `json:"one"`
	All State `json:"all"`
}

// Held is one worker of a holder.
type Held struct {
	Pid     int    `json:"pid"`
	Address string `json:"address,omitempty"` // for the role "cli"
}

// State is what a holder needs for its workers.
type State struct {
	Memory     int `json:"memory"`               // resident, in bytes, after a garbage collection
	Goroutines int `json:"goroutines,omitempty"` // 0 means that there is no such thing
}

// hold starts workers and keeps them until standard input ends. With the
// argument "spin" it makes them busy.
func hold(s System, args []string) error {
	if len(args) == 0 {
		return errors.New("hold how many workers?")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 {
		return fmt.Errorf("hold how many workers? %q", args)
	}
	first := payload(small)
	if slices.Contains(args, Spin) {
		first = []byte(Spin)
	}
	var h Holding
	f, err := startFleet(context.Background(), s, 1, first)
	if err == nil {
		h.One = state()
		err = f.grow(context.Background(), s, n-1, first)
	}
	if err == nil {
		h.All, h.Workers = state(), f.held()
		err = printJSON(h)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, bufio.NewReader(os.Stdin))
	}
	return errors.Join(err, f.close())
}

// state returns this process's when it has given back what it does not need.
func state() State {
	runtime.GC()
	debug.FreeOSMemory()
	return State{Memory: memory(os.Getpid(), "VmRSS"), Goroutines: runtime.NumGoroutine()}
}

// fleet is many workers.
type fleet struct {
	mu      sync.Mutex // of what follows, while the fleet grows
	workers []Worker
	callers []Caller
	err     error
}

func startFleet(ctx context.Context, s System, n int, first []byte) (*fleet, error) {
	f := new(fleet)
	return f, f.grow(ctx, s, n, first)
}

// grow starts n more workers, some at a time, and makes the first call to each.
func (f *fleet) grow(ctx context.Context, s System, n int, first []byte) error {
	slots := make(chan struct{}, atOnce) // one for each start under way
	var wg sync.WaitGroup
	for range n {
		slots <- struct{}{}
		wg.Go(func() {
			f.add(startAndCall(ctx, s, first))
			<-slots
		})
	}
	wg.Wait()
	return f.err
}

func startAndCall(ctx context.Context, s System, first []byte) (Worker, Caller, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	w, c, err := started(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	return w, c, checked(ctx, c, first)
}

func (f *fleet) add(w Worker, c Caller, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w != nil {
		f.workers, f.callers = append(f.workers, w), append(f.callers, c)
	}
	if f.err == nil {
		f.err = err
	}
}

func (f *fleet) held() []Held {
	var held []Held
	for _, w := range f.workers {
		held = append(held, Held{Pid: w.Pid(), Address: w.Address()})
	}
	return held
}

// close ends all workers, all at once.
func (f *fleet) close() error {
	errs := make([]error, len(f.workers))
	var wg sync.WaitGroup
	for i, w := range f.workers {
		wg.Go(func() { errs[i] = w.Close() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
