package lifecycle_test

import (
	"context"
	"fmt"
	"log"

	"github.com/detached-workers/unref/lifecycle"
)

// A starter starts a worker, waits until it has answered, and stops it. It need not stop it: the worker leaves when this
// process ends.
func Example() {
	cmd := &lifecycle.Command{Path: "demo-worker", Config: map[string]int{"threads": 2}}
	p, err := cmd.Start(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	// Talk to the worker over p.Socket() here, and then:
	p.Ready()
	forced, err := p.Stop(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(forced, p.Err())
}

// A worker finds out that it is one, serves, and ends in good order when its owner is gone.
func ExampleCurrent() {
	w, err := lifecycle.Current()
	if err != nil {
		log.Fatal(err)
	}
	if w == nil {
		fmt.Println("not a worker")
		return
	}
	w.Serving(func(ctx context.Context) {
		// Finish what is under way, until ctx ends.
	})
	// Listen on w.Socket here.
	// Output: not a worker
}

func ExampleOutputReader() {
	var p *lifecycle.Process // from Command.Start
	if p == nil {
		return
	}
	r := p.Output()
	for line, ok := r.Next(); ok; line, ok = r.Next() {
		switch {
		case line.Entry != nil:
			fmt.Println(line.Entry.Level, line.Entry.Message)
		case line.Lost > 0:
			fmt.Println(line.Lost, "bytes were lost")
		default:
			fmt.Println(line.Text)
		}
	}
}
