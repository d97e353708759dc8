// Parent is the parent of the README. Its argument is the path of the worker.
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
	w, err := client.Start(ctx, &lifecycle.Command{Path: path})
	if err != nil {
		return err
	}
	defer w.Close() // or not: the worker leaves when this process ends
	req := api.CountRequest{Text: "to be or not to be"}
	reply, err := client.Call(ctx, w, api.Count, req)
	if err != nil {
		return err
	}
	fmt.Println(reply.Words, "words in", reply.Bytes, "bytes")
	for word, err := range client.Stream(ctx, w, api.Words, req) {
		if err != nil {
			return err
		}
		fmt.Println(word) // break would cancel the stream on the worker
	}
	return nil
}
