package main

import (
	"log"

	"github.com/detached-workers/unref/integration/docs_guide/api"
	"github.com/detached-workers/unref/integration/docs_guide/counter"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/server"
)

// workerName is the worker's own name, by which this program knows that it was started as that.
const workerName = "mytool-worker"

// serveIfWorker takes over in a process that was started as the worker, and returns at once in any other.
func serveIfWorker() {
	var c counter.Counter
	if w, err := lifecycle.Current(); err == nil && w != nil {
		if err := w.DecodeConfig(&c.Settings); err != nil {
			log.Fatal(err)
		}
	}
	var mux server.Mux
	server.Handle(&mux, api.Count, c.Count)
	server.MainIfWorker(workerName, &mux)
}
