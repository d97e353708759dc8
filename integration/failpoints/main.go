// Failpoints is a short-lived program and its shared worker in one, which a test builds so that both can be ended at exact
// points of the library.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/server"
	"github.com/detached-workers/unref/transport"
)

const pid transport.Method[struct{}, int] = "pid"

// The variables that the test sets: where the worker is to end, how long it is to stay without a client, and what is a part
// of its configuration.
const (
	pointEnv       = "UNREF_FAILPOINT"
	workerPointEnv = "WORKER_FAILPOINT"
	idleEnv        = "WORKER_IDLE"
	configEnv      = "WORKER_CONFIG"
)

func main() {
	var mux server.Mux
	server.Handle(&mux, pid, func(context.Context, struct{}) (int, error) { return os.Getpid(), nil })
	server.MainIfWorker("failpoints", &mux)
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run attaches, calls and prints the worker's pid.
func run() error {
	logrus.SetLevel(logrus.DebugLevel)
	idle, err := time.ParseDuration(os.Getenv(idleEnv))
	if err != nil {
		return err
	}
	cmd := lifecycle.Self("failpoints")
	cmd.Env = append(os.Environ(), pointEnv+"="+os.Getenv(workerPointEnv))
	cmd.FingerprintEnv = []string{configEnv}
	cmd.IdleTimeout = idle
	// A worker that was left in the lurch must not be waited for.
	d := &client.Dialer{AnswerTimeout: -1}
	w, err := d.Attach(context.Background(), "failpoints", cmd)
	if err != nil {
		return err
	}
	defer w.Close()
	got, err := client.Call(context.Background(), w, pid, struct{}{})
	if err != nil {
		return err
	}
	fmt.Println(got)
	return nil
}
