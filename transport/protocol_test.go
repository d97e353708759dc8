package transport

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
)

var goldenBlock = regexp.MustCompile("(?ms)^```hex ([a-z-]+)\n(.*?)^```$")

// golden returns the examples of docs/protocol.md by name.
func golden(t testing.TB) map[string][]byte {
	t.Helper()
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string][]byte{}
	for _, m := range goldenBlock.FindAllStringSubmatch(string(doc), -1) {
		var digits strings.Builder
		for line := range strings.Lines(m[2]) {
			bytes, _, _ := strings.Cut(line, "#")
			digits.WriteString(strings.Join(strings.Fields(bytes), ""))
		}
		b, err := hex.DecodeString(digits.String())
		if err != nil || blocks[m[1]] != nil {
			t.Fatalf("block %s: bad or there twice: %v", m[1], err)
		}
		blocks[m[1]] = b
	}
	return blocks
}

// same reads as many bytes as the example has and compares them.
func same(t *testing.T, name string, r io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(r, got)
	if err != nil || len(want) == 0 || !bytes.Equal(got, want) {
		t.Errorf("%s:\n got % x (%v)\nwant % x", name, got[:n], err, want)
	}
}

var (
	goldenHello = Hello{Name: "checker", Build: "b1", Instance: "i1", Secret: []byte{1, 2}, Pid: 7}
	goldenSelf  = Welcome{Name: "checker", Build: "b1", Instance: "i1", Pid: 42}
)

func goldenHandler(ctx context.Context, call *Call) ([]byte, error) {
	switch call.Method {
	case "large":
		return make([]byte, laneMax+1), nil
	case "nope":
		return nil, Refuse(&Error{Code: CodeUnknownMethod, Message: "no such method"})
	case "m":
		return nil, &Error{Code: "app.x"}
	}
	return echo(ctx, call)
}

func TestTheExamplesInTheDocAreWhatAWorkerReadsAndWrites(t *testing.T) {
	doc := golden(t)
	caller, worker := socket(t)
	defer caller.Close()
	caller.SetDeadline(time.Now().Add(patience))
	accepted := serve(t, worker, AcceptConfig{Self: goldenSelf, Secret: goldenHello.Secret}, goldenHandler)
	caller.Write(doc["hello"])
	same(t, "welcome", caller, doc["welcome"])
	caller.Write(doc["lane-open"])
	same(t, "lane-accept", caller, doc["lane-accept"])
	receiveFrom(t, "the connection", accepted)

	r, sc := newRawCaller(t, AcceptConfig{}, goldenHandler)
	r.lane.SetDeadline(time.Now().Add(patience))
	r.lane.Write(doc["lane-request"])
	same(t, "lane-result", r.lane, doc["lane-result"])
	put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: 2}, request("nope")...)
	same(t, "lane-fail", r.lane, doc["lane-fail"])
	put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: 3}, request("wait")...)
	r.lane.Write(doc["cancel"])
	h, payload := get(t, r.lane)
	wantFail(t, h, payload, 3, CodeDeadline, false)
	r.lane.SetDeadline(time.Now().Add(patience))
	put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: 4}, request("large")...)
	same(t, "large", r.lane, doc["large"])

	r.lane.SetDeadline(time.Now().Add(patience))
	r.lane.Write(doc["notify-request"])
	same(t, "notify-result", r.lane, doc["notify-result"])

	s := r.open()
	s.Write(doc["fetch"])
	if h, payload := get(t, s); h.typ != frameResult || h.flags != 0 || len(payload) != laneMax+1 {
		t.Errorf("fetch: got %+v", h)
	}
	s.SetDeadline(time.Now().Add(patience))
	s.Write(doc["stream-request"])
	s.Write(doc["stream-message"])
	same(t, "stream-message", s, doc["stream-message"])
	s.Write(doc["stream-end"])
	same(t, "stream-result", s, doc["stream-result"])
	put(t, s, header{typ: frameRequest, flags: flagEnd | flagStream, id: 6}, request("m")...)
	same(t, "stream-fail", s, doc["stream-fail"])
	if _, err := s.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after END the stream is open: %v", err)
	}

	r.lane.SetDeadline(time.Now().Add(patience))
	sc.Ring()
	same(t, "bell", r.lane, doc["bell"])
	if err := sc.Drain(within(t, patience)); err != nil {
		t.Error(err)
	}
	same(t, "go-away", r.lane, doc["go-away"])
}

func TestTheHandshakeInTheDocIsWhatACallerReadsAndWrites(t *testing.T) {
	doc := golden(t)
	caller, worker := socket(t)
	defer worker.Close()
	worker.SetDeadline(time.Now().Add(patience))
	dialled := make(chan *Conn, 1)
	go func() {
		c, err := newConn(t.Context(), caller, DialConfig{Hello: goldenHello})
		if err != nil {
			t.Error(err)
		}
		dialled <- c
	}()
	same(t, "hello", worker, doc["hello"])
	worker.Write(doc["welcome"])
	same(t, "lane-open", worker, doc["lane-open"])
	worker.Write(doc["lane-accept"])
	receiveFrom(t, "the connection", dialled).Close()
}

// goldenCall makes a call in the background.
func goldenCall(ctx context.Context, c *Conn, method, body string) <-chan string {
	outcome := make(chan string, 1)
	go func() {
		got, err := c.Call(ctx, Request{Method: method, Body: []byte(body)})
		if err != nil {
			got = []byte(err.Error())
		}
		outcome <- string(got)
	}()
	return outcome
}

func wantOutcome(t *testing.T, outcome <-chan string, want string) {
	t.Helper()
	if got := receiveFrom(t, "the outcome", outcome); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheFramesInTheDocAreWhatACallerReadsAndWrites(t *testing.T) {
	doc := golden(t)
	c, w := newRawWorker(t, DialConfig{})
	w.wake()
	w.lane.SetDeadline(time.Now().Add(patience))
	outcome := goldenCall(t.Context(), c, "echo", "\x62hi")
	same(t, "lane-request", w.lane, doc["lane-request"])
	w.lane.Write(doc["lane-result"])
	wantOutcome(t, outcome, "\x62hi")

	outcome = goldenCall(t.Context(), c, "nope", "")
	get(t, w.lane)
	w.lane.Write(doc["lane-fail"])
	wantOutcome(t, outcome, "nope: unknown method: no such method")

	timeout, expire := context.WithCancelCause(t.Context())
	outcome = goldenCall(timeout, c, "wait", "")
	get(t, w.lane)
	expire(context.DeadlineExceeded)
	wantOutcome(t, outcome, context.Canceled.Error())
	w.lane.SetDeadline(time.Now().Add(patience))
	same(t, "cancel", w.lane, doc["cancel"])

	outcome = goldenCall(t.Context(), c, "large", "")
	get(t, w.lane)
	w.lane.Write(doc["large"])
	s := w.accept()
	s.SetDeadline(time.Now().Add(patience))
	same(t, "fetch", s, doc["fetch"])
	put(t, s, header{typ: frameResult, id: 4}, []byte("fetched")...)
	wantOutcome(t, outcome, "fetched")

	goldenStreams(t, doc, c, s)
	w.lane.SetDeadline(time.Now().Add(patience))
	notified := make(chan error, 1)
	c.mu.Lock()
	c.lastID = 7
	c.mu.Unlock()
	go func() {
		_, err := c.Call(t.Context(), Request{Method: "echo", Body: []byte("\x62hi"), Notify: true})
		notified <- err
	}()
	same(t, "notify-request", w.lane, doc["notify-request"])
	w.lane.Write(doc["notify-result"])
	if err := receiveFrom(t, "the receipt", notified); err != nil {
		t.Error(err)
	}
	w.lane.Write(doc["bell"])
	w.lane.Write(doc["go-away"])
	await(t, "the go-away", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.draining
	})
}

// goldenStreams makes the calls that follow on the stream s.
func goldenStreams(t *testing.T, doc map[string][]byte, c *Conn, s *yamux.Stream) {
	t.Helper()
	stream, err := c.Open(t.Context(), Request{Method: "bidi"}, false)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "stream-request", s, doc["stream-request"])
	if err := stream.Send(t.Context(), []byte("\x62hi")); err != nil {
		t.Error(err)
	}
	same(t, "stream-message", s, doc["stream-message"])
	if err := stream.CloseSend(t.Context()); err != nil {
		t.Error(err)
	}
	same(t, "stream-end", s, doc["stream-end"])
	s.Write(doc["stream-message"])
	s.Write(doc["stream-result"])
	if msg, err := stream.Recv(t.Context()); err != nil || string(msg) != "\x62hi" {
		t.Errorf("got %q, %v", msg, err)
	}
	if _, err := stream.Recv(t.Context()); err != io.EOF {
		t.Error(err)
	}
	stream = open(t, c, "m", nil, true)
	get(t, s)
	s.Write(doc["stream-fail"])
	_, err = stream.Recv(t.Context())
	wantErr(t, err, Code("app.x"))
}

func TestTheOtherExamplesInTheDocHold(t *testing.T) {
	doc := golden(t)
	header := requestHeader{Method: "echo", Timeout: int64(1500 * time.Millisecond), Metadata: map[string]string{"k": "v"}}
	same(t, "request-header", bytes.NewReader(must(Codec{}.Encode(&header))), doc["request-header"])
	if got, _, err := decodeRequest(doc["request-header"]); err != nil || got.Timeout != header.Timeout || got.Metadata["k"] != "v" {
		t.Errorf("got %+v, %v", got, err)
	}
	for name, v := range map[string]any{
		"events-request": EventsRequest{Names: []string{"progress"}},
		"events-begun":   EventMessage{},
		"event":          EventMessage{Name: "progress", Body: []byte{7}},
		"events-missed":  EventMessage{Missed: 3},
	} {
		if got := must(Codec{}.Encode(v)); !bytes.Equal(got, doc[name]) {
			t.Errorf("%s:\n got % x\nwant % x", name, got, doc[name])
		}
	}
	var event EventMessage
	if err := (Codec{}).Decode(doc["event"], &event); err != nil || event.Name != "progress" || !bytes.Equal(event.Body, []byte{7}) {
		t.Errorf("got %+v, %v", event, err)
	}
	busy := &Error{Code: "app.busy", Method: "m", Message: "x: EOF", Kind: "*fmt.wrapError", Causes: []*Error{ErrorOf(io.EOF)}}
	same(t, "error-with-a-cause", bytes.NewReader(encodeFail(busy)), doc["error-with-a-cause"])
	wantErr(t, decodeFail(doc["error-with-a-cause"]), Code("app.busy"), io.EOF)

	c, w := net.Pipe()
	refused := make(chan error, 1)
	go func() {
		_, err := receive(w, AcceptConfig{Self: Welcome{Build: "b1"}})
		refused <- err
	}()
	if err := writeHandshake(c, preamble{a: 1, b: 1, kind: connSession}, Hello{Build: "b2"}); err != nil {
		t.Fatal(err)
	}
	same(t, "refusal", c, doc["refusal"])
	wantErr(t, receiveFrom(t, "the refusal", refused), ErrBuild)
	_, _, err := greet(scripted{in: bytes.NewReader(doc["refusal"])}, Hello{})
	if e, _ := errors.AsType[*MismatchError](err); e == nil || *e != (MismatchError{"build", "b2", "b1"}) {
		t.Errorf("got %v", err)
	}
}

func TestTheDocHasTheNumbersOfTheCode(t *testing.T) {
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, typ := range map[string]frameType{
		"1 | request": frameRequest, "2 | message": frameMessage, "3 | end": frameEnd, "4 | result": frameResult, "5 | fail": frameFail,
		"6 | cancel": frameCancel, "7 | large": frameLarge, "8 | fetch": frameFetch, "9 | bell": frameBell, "10 | go-away": frameGoAway,
		"11 | connect": frameConnect,
	} {
		if !bytes.Contains(doc, []byte("| "+name+" |")) || !strings.HasPrefix(name, strconv.Itoa(int(typ))) {
			t.Errorf("the doc's table has no row %q, or its number is wrong", name)
		}
	}
	for _, code := range []Code{
		CodeUnknown, CodePanic, CodeAborted, CodeUnknownMethod, CodeInvalid, CodeTooLarge, CodeEncode,
		CodeDeadline, CodeCanceled, CodeUnavailable, CodeExhausted,
	} {
		if !bytes.Contains(doc, []byte("`"+code+"`")) {
			t.Errorf("the doc does not know the code %s", code)
		}
	}
	got := []int{
		laneMax, maxHandshake, maxFail, maxMethod, DefaultMaxMessage, MaxDepth, MaxElements, DefaultMaxCalls, maxEarly, maxIdleStreams,
		windowSize, maxCauses, maxVersion, int(flagEnd), int(flagStream), int(flagRaw), int(flagNotify), int(cancelCaller), int(cancelDeadline), int(DefaultHandshakeTimeout.Seconds()),
	}
	want := []int{96 << 10, 16 << 10, 1 << 20, 1 << 10, 16 << 20, 128, 1048576, 10000, 256, 16, 1 << 20, 16, 1, 1, 2, 4, 8, 1, 2, 5}
	if !slices.Equal(got, want) {
		t.Errorf("a constant has changed: change docs/protocol.md, and then this list:\n got %v\nwant %v", got, want)
	}
}
