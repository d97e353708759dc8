// Worker is the worker of the README.
package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/detached-workers/unref/integration/docs_readme/api"
	"github.com/detached-workers/unref/server"
)

func main() {
	var mux server.Mux
	server.Handle(&mux, api.Count, count)
	server.HandleStream(&mux, api.Words, words)
	server.Main(&mux) // serves until the owner is gone, then exits
}

func count(ctx context.Context, req api.CountRequest) (api.CountReply, error) {
	fmt.Println("counting") // arrives in the parent's log
	return api.CountReply{Words: len(strings.Fields(req.Text)), Bytes: len(req.Text)}, nil
}

func words(ctx context.Context, req api.CountRequest, send func(string) error) error {
	for word := range strings.FieldsSeq(req.Text) {
		if err := send(word); err != nil {
			return err
		}
	}
	return nil
}
