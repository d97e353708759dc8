// Short attaches to the worker of the README. Its argument is the path of that.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/integration/docs_readme/api"
	"github.com/detached-workers/unref/lifecycle"
)

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path string) error {
	w, err := client.Attach(ctx, "words", &lifecycle.Command{Path: path})
	if err != nil {
		return err
	}
	defer w.Close() // lets go of the worker, which stays for the next run
	reply, err := client.Call(ctx, w, api.Count, api.CountRequest{Text: "to be or not to be"})
	if err != nil {
		return err
	}
	fmt.Println(reply.Words, "words;", w.Decision()) // "reused: worker 4711, started 3s ago, ...", or why it is another one
	return nil
}
