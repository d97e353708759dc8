package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/server"
	"github.com/detached-workers/unref/transport"
)

// The contract of the test worker.
const (
	echo     transport.Method[[]byte, []byte]        = "echo"
	wait     transport.Method[waitRequest, string]   = "wait" // until its context ends
	printAll transport.Method[string, struct{}]      = "print"
	end      transport.Method[string, struct{}]      = "end" // ends the worker in the way named
	fail     transport.Method[string, struct{}]      = "fail"
	checked  transport.Method[evenRequest, int]      = "checked"
	offspr   transport.Method[struct{}, []int]       = "offspring"
	shell    transport.Method[string, string]        = "shell"
	size     transport.Method[int, []byte]           = "size"
	unenc    transport.Method[string, any]           = "unencodable"
	count    transport.StreamMethod[countReq, int]   = "count"
	bulk     transport.StreamMethod[bulkReq, []byte] = "bulk"
	stall    transport.StreamMethod[int, int]        = "stall" // n messages, then nothing
	double   transport.BidiMethod[int, int]          = "double"
	deaf     transport.BidiMethod[[]byte, int]       = "deaf" // never receives
	flood    transport.Method[floodReq, struct{}]    = "flood"
	serve    transport.Method[struct{}, struct{}]    = "serve" // speaks HTTP on the listener "http" from now on
	calls    transport.Method[struct{}, []string]    = "calls" // methods whose contexts have ended, and why
	nest     transport.Method[struct{}, found]       = "nest"  // starts a worker below this one
)

type (
	waitRequest struct {
		Stubborn bool // ignores its context
		Spin     bool // and uses the CPU
	}
	countReq    struct{ From, To int }
	bulkReq     struct{ Messages, Size int }
	floodReq    struct{ Lines, Length int }
	evenRequest struct{ N int }
)

func (r evenRequest) Validate() error {
	if r.N%2 != 0 {
		return fmt.Errorf("%d is odd", r.N)
	}
	return nil
}

// ended records how the contexts of calls ended.
var ended = make(chan string, 1000)

func newMux() *server.Mux {
	mux := &server.Mux{Strict: os.Getenv("INTEGRATION_STRICT") != ""}
	server.Handle(mux, echo, func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	server.Handle(mux, wait, handleWait)
	server.Handle(mux, printAll, handlePrint)
	server.Handle(mux, end, func(_ context.Context, how string) (struct{}, error) { return struct{}{}, endBy(how) })
	server.Handle(mux, fail, func(_ context.Context, how string) (struct{}, error) { return struct{}{}, failBy(how) })
	server.Handle(mux, checked, func(_ context.Context, r evenRequest) (int, error) { return r.N, nil })
	server.Handle(mux, offspr, func(context.Context, struct{}) ([]int, error) { return startOffspring() })
	server.Handle(mux, shell, func(_ context.Context, script string) (string, error) {
		cmd := exec.Command("sh", "-c", script)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		return string(out), err
	})
	server.Handle(mux, size, func(_ context.Context, n int) ([]byte, error) { return make([]byte, n), nil })
	server.Handle(mux, unenc, func(_ context.Context, how string) (any, error) { return unencodable(how), nil })
	server.HandleStream(mux, count, handleCount)
	server.HandleStream(mux, bulk, handleBulk)
	server.HandleStream(mux, stall, handleStall)
	server.HandleBidi(mux, double, handleDouble)
	server.HandleBidi(mux, deaf, func(ctx context.Context, _ *server.BidiStream[[]byte, int]) error {
		<-ctx.Done()
		note(ctx)
		return nil
	})
	server.Handle(mux, flood, handleFlood)
	l := mux.Listener("http")
	server.Handle(mux, serve, func(context.Context, struct{}) (struct{}, error) {
		go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s from %d", r.URL.Path, os.Getpid())
		}))
		return struct{}{}, nil
	})
	server.Handle(mux, hoard, handleHoard)
	server.Handle(mux, swell, handleSwell)
	server.Handle(mux, outlast, handleOutlast)
	server.Handle(mux, report, func(_ context.Context, r reportReq) (struct{}, error) { return struct{}{}, r.emit(mux) })
	server.Handle(mux, nest, func(ctx context.Context, _ struct{}) (found, error) { return startBelow(ctx) })
	server.Handle(mux, calls, func(context.Context, struct{}) (list []string, err error) {
		for {
			select {
			case s := <-ended:
				list = append(list, s)
			default:
				return list, nil
			}
		}
	})
	return mux
}

func note(ctx context.Context) {
	ended <- fmt.Sprintf("%s: %v", server.MethodName(ctx), context.Cause(ctx))
}

func handleWait(ctx context.Context, req waitRequest) (string, error) {
	//lint:ignore SA5002 it is there to use a CPU for ever
	for req.Spin {
	}
	if req.Stubborn {
		select {}
	}
	<-ctx.Done()
	note(ctx)
	return "", ctx.Err()
}

func handlePrint(ctx context.Context, text string) (struct{}, error) {
	fmt.Println("println " + text)
	log.Print("log " + text)
	slog.InfoContext(ctx, "slog "+text, "n", 1, slog.Group("g", "k", "v"))
	logrus.WithContext(ctx).WithField("m", "two").Warn("logrus " + text)
	child := exec.Command("sh", "-c", "echo child "+text+" >&2")
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	return struct{}{}, child.Run()
}

func endBy(how string) error {
	fmt.Print("last words")
	switch how {
	case "exit 0":
		os.Exit(0)
	case "exit 3":
		os.Exit(3)
	case "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "stop":
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case "stray panic":
		go panic("stray")
	case "panic among many":
		for range 3000 {
			go func() { select {} }()
		}
		go panic("among many")
	case "map writes":
		m := map[int]int{}
		for range 8 {
			go func() {
				for i := 0; ; i++ {
					m[i%10] = i
				}
			}()
		}
	}
	select {}
}

// fieldError is an error with fields of its own.
type fieldError struct{ Line int }

func (e *fieldError) Error() string     { return fmt.Sprintf("line %d", e.Line) }
func (e *fieldError) ErrorDetails() any { return e }

func failBy(how string) error {
	switch how {
	case "panic":
		panic("boom")
	case "panic with error":
		panic(fs.ErrNotExist)
	case "goexit":
		runtime.Goexit()
	case "missing file":
		_, err := os.Open("/nonexistent/file")
		return fmt.Errorf("read the config: %w", err)
	case "too many files":
		return &fs.PathError{Op: "open", Path: "/some/file", Err: syscall.EMFILE}
	case "coded":
		return transport.Errorf("app.busy", "try later: %w", io.ErrUnexpectedEOF)
	case "details":
		return &fieldError{Line: 7}
	case "joined":
		return errors.Join(fs.ErrExist, context.DeadlineExceeded)
	}
	return errors.New(how)
}

type ring struct{ Next *ring }

func unencodable(how string) any {
	switch how {
	case "func":
		return func() {}
	case "chan":
		return make(chan int)
	default:
		r := new(ring)
		r.Next = r
		return r
	}
}

// startOffspring starts a plain child, one in a session of its own, and a
// daemon that has left the family, and returns their pids.
func startOffspring() ([]int, error) {
	const script = `sleep 1000 & echo $!
setsid sleep 1000 & echo $!
( setsid sh -c 'echo $$; exec sleep 1000' & ) `
	cmd := exec.Command("sh", "-c", script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var pids []int
	for range 3 {
		var pid int
		if _, err := fmt.Fscan(out, &pid); err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, cmd.Wait()
}

func handleCount(_ context.Context, req countReq, send func(int) error) error {
	for i := req.From; i < req.To; i++ {
		if err := send(i); err != nil {
			return err
		}
	}
	return nil
}

func handleBulk(ctx context.Context, req bulkReq, send func([]byte) error) error {
	defer func() {
		if ctx.Err() != nil {
			note(ctx)
		}
	}()
	chunk := make([]byte, req.Size)
	for range req.Messages {
		if err := send(chunk); err != nil {
			return err
		}
	}
	return nil
}

func handleStall(ctx context.Context, n int, send func(int) error) error {
	for i := range n {
		if err := send(i); err != nil {
			return err
		}
	}
	<-ctx.Done()
	note(ctx)
	return ctx.Err()
}

func handleDouble(_ context.Context, s *server.BidiStream[int, int]) error {
	for {
		n, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Send(2 * n); err != nil {
			return err
		}
	}
}

func handleFlood(ctx context.Context, req floodReq) (struct{}, error) {
	line := bytes.Repeat([]byte("x"), req.Length)
	for i := 0; i < req.Lines && ctx.Err() == nil; i++ {
		fmt.Printf("%d %s\n", i, line)
	}
	return struct{}{}, nil
}
