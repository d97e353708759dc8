package integration

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// roles are the programs that the test binary can be.
var roles = map[string]func(args []string) int{
	"leak":   playLeak,
	"launch": playLaunch,
	"own":    playOwn,
	"begin":  playBegin,
	"fake":   playFake,
	"again":  playAgain,
	"shared": playShared,
	"cli":    playCLI,
	"notify": playNotify,
	"pooled": playPooled,
	"keep":   playKeep,
}

// initEnv makes the test binary fail before its main function.
const initEnv = "INTEGRATION_INIT"

func init() {
	switch os.Getenv(initEnv) {
	case "panic":
		panic("not even started")
	case "hang":
		fmt.Println("in init")
		block()
	}
}

// play runs the test binary as another program. The words of a role are
// separated by blanks. What this program starts plays no role by itself.
func play(role string) int {
	os.Unsetenv(roleEnv)
	words := strings.Fields(role)
	program, ok := roles[words[0]]
	if !ok {
		fmt.Fprintf(os.Stderr, "no role %q\n", role)
		return 2
	}
	return program(words[1:])
}

func block() {
	for {
		time.Sleep(time.Hour)
	}
}

// must ends a program that can't play its role.
func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// quiet is a dialer that forgets what workers print.
func quiet() *client.Dialer {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	return &client.Dialer{Logger: logger, Timeout: -1}
}

// found is what a program says of the worker that it has started.
type found struct {
	Pid       int
	Dir       string
	Offspring []int `json:",omitempty" cbor:",omitempty"` // processes of the worker's own
}

func tell(f found) { must(json.NewEncoder(os.Stdout).Encode(f)) }

// playLeak opens the file named without close-on-exec, and plays launch in a
// child, which inherits the descriptor.
func playLeak(args []string) int {
	_, err := syscall.Open(args[0], syscall.O_RDONLY, 0)
	must(err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"=launch "+args[1])
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	must(cmd.Run())
	return 0
}

// playLaunch starts a worker that belongs to the process named, with an idle
// timeout if one is given, and returns from main.
func playLaunch(args []string) int {
	pid, err := strconv.Atoi(args[0])
	must(err)
	cmd := self()
	cmd.Owner, err = lifecycle.OwnerProcess(pid)
	must(err)
	if len(args) > 1 {
		cmd.IdleTimeout, err = time.ParseDuration(args[1])
		must(err)
	}
	w, err := quiet().Start(context.Background(), cmd)
	must(err)
	tell(found{Pid: w.Pid(), Dir: w.Process().Dir()})
	return 0
}

// playOwn starts a worker, keeps it occupied in the way named, and then does
// what its input says. At the input's end it returns from main.
func playOwn(args []string) int {
	cmd := self()
	cmd.Grace = 200 * time.Millisecond
	fmt.Println("starting")
	w, err := quiet().Start(context.Background(), cmd)
	must(err)
	pids, err := client.Call(context.Background(), w, offspr, struct{}{})
	must(err)
	occupy(w, args[0])
	tell(found{w.Pid(), w.Process().Dir(), pids})
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "return":
			return 0
		case "exit":
			os.Exit(3)
		case "panic":
			panic("the owner's end")
		case "call":
			pid, err := workerPid(context.Background(), w)
			must(err)
			tell(found{Pid: pid})
		}
	}
	return 0
}

// workerPid asks the worker for its pid.
func workerPid(ctx context.Context, c client.Caller) (int, error) {
	out, err := client.Call(ctx, c, shell, "echo $PPID")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(out))
}

// occupy returns when the worker is busy in the way named.
func occupy(w *client.Worker, how string) {
	ctx := context.Background()
	switch how {
	case "runs calls":
		go client.Call(ctx, w, wait, waitRequest{})
		go func() {
			for err := error(nil); err == nil; {
				_, err = client.Call(ctx, w, echo, make([]byte, 1000))
			}
		}()
		awaitHandler(w, "handleWait")
	case "spins":
		go client.Call(ctx, w, wait, waitRequest{Spin: true})
		awaitHandler(w, "handleWait")
	case "prints":
		go client.Call(ctx, w, flood, floodReq{math.MaxInt, 100})
		awaitHandler(w, "handleFlood")
	}
}

func awaitHandler(w *client.Worker, name string) {
	for running := ""; !strings.Contains(running, name); {
		var err error
		running, err = client.Call(context.Background(), w, transport.MethodStacks, struct{}{})
		must(err)
	}
}

// playBegin starts a program and goes no further: it does not dial.
func playBegin(args []string) int {
	cmd := self()
	switch args[0] {
	case "foreign":
		cmd = &lifecycle.Command{Path: "sleep", Args: []string{"1000"}}
	case "init":
		cmd.Env = append(os.Environ(), initEnv+"=hang")
	}
	p, err := cmd.Start(context.Background())
	must(err)
	for begun := false; !begun; time.Sleep(time.Millisecond) {
		_, err := os.Lstat(p.Socket())
		begun = err == nil || args[0] == "foreign" || strings.Contains(string(p.LastOutput()), "in init")
	}
	tell(found{Pid: p.Pid(), Dir: p.Dir()})
	block()
	return 0
}

// playFake is a worker that does not keep to the protocol. It makes the file
// named, if one is, once it has begun to read a handshake.
func playFake(args []string) int {
	w, err := lifecycle.Current()
	must(err)
	l, err := net.Listen("unix", filepath.Join(w.Dir, filepath.Base(w.Socket)))
	must(err)
	fmt.Println("last words")
	for {
		conn, err := l.Accept()
		must(err)
		switch args[0] {
		case "mute":
			_, err := io.ReadFull(conn, make([]byte, 1))
			must(err)
			must(os.WriteFile(args[1], nil, 0o600))
			block() // which keeps conn from being collected
		case "garbage":
			fmt.Fprint(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		case "newer":
			answer(conn, 9, transport.Welcome{Version: 9})
		case "older":
			answer(conn, 0, transport.MismatchError{Field: "version", Want: "1", Got: "0"})
		case "other":
			self := transport.Welcome{Name: "other", Instance: w.ID, Pid: os.Getpid()}
			transport.Accept(context.Background(), conn, transport.AcceptConfig{Self: self, Secret: w.Secret})
		case "plain":
			playPlain(w, conn)
		case "vanish", "garble":
			playTurncoat(w, l, conn, args[0])
		}
	}
}

// playTurncoat is a worker that is sound until the first call arrives. Then it
// closes its listener and its connection, or sends garbage, and lives on.
func playTurncoat(w *lifecycle.Worker, l net.Listener, conn net.Conn, how string) {
	self := transport.Welcome{Name: w.Name, Instance: w.ID, Pid: os.Getpid()}
	sc, err := transport.Accept(context.Background(), conn, transport.AcceptConfig{Self: self, Secret: w.Secret})
	must(err)
	sc.Serve(context.Background(), func(ctx context.Context, _ *transport.Call) ([]byte, error) {
		if how == "garble" {
			fmt.Fprint(conn, strings.Repeat("garbage", 10))
		} else {
			l.Close()
			conn.Close()
		}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if how == "vanish" {
		block()
	}
}

// playPlain is a worker that has no methods, the built-in ones included.
func playPlain(w *lifecycle.Worker, conn net.Conn) {
	self := transport.Welcome{Name: w.Name, Instance: w.ID, Pid: os.Getpid()}
	sc, err := transport.Accept(context.Background(), conn, transport.AcceptConfig{Self: self, Secret: w.Secret})
	must(err)
	sc.Serve(context.Background(), func(context.Context, *transport.Call) ([]byte, error) {
		return nil, transport.Refuse(&transport.Error{Code: transport.CodeUnknownMethod})
	})
}

// answer writes one side of a handshake by hand.
func answer(w io.Writer, version byte, body any) {
	data, err := transport.Codec{}.Encode(body)
	must(err)
	msg := append([]byte("unrf"), version, version, 'Y', 0)
	msg = binary.BigEndian.AppendUint32(msg, uint32(len(data)))
	_, err = w.Write(append(msg, data...))
	must(err)
}

// playAgain is a worker that starts itself before it serves.
func playAgain(args []string) int {
	cmd := lifecycle.Self("worker")
	if len(args) > 0 {
		path, err := os.Executable()
		must(err)
		cmd = &lifecycle.Command{Path: path}
	}
	_, err := client.Start(context.Background(), cmd)
	fmt.Println("does not serve yet:", errors.Is(err, lifecycle.ErrNotServing))
	return 4
}

// startBelow starts a worker in a worker, and leaves it to that one.
func startBelow(ctx context.Context) (found, error) {
	w, err := quiet().Start(ctx, self())
	if err != nil {
		return found{}, err
	}
	pids, err := client.Call(ctx, w, offspr, struct{}{})
	return found{w.Pid(), w.Process().Dir(), pids}, err
}
