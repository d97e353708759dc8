// Mytool-worker is the worker of the guide as a program of its own.
package main

import (
	"log"

	"github.com/detached-workers/unref/integration/docs_guide/api"
	"github.com/detached-workers/unref/integration/docs_guide/counter"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/server"
)

func main() {
	var c counter.Counter
	w, err := lifecycle.Current()
	if err == nil && w != nil {
		err = w.DecodeConfig(&c.Settings)
	}
	if err != nil {
		log.Fatal(err) // whoever starts it gets this as the reason
	}
	var mux server.Mux
	server.Handle(&mux, api.Count, c.Count)
	server.Main(&mux)
}
