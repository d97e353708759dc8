package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
)

func wantFail(t testing.TB, h header, payload []byte, id uint64, code Code, notRun bool) {
	t.Helper()
	err := decodeFail(payload)
	e, _ := errors.AsType[*Error](err)
	if h.typ != frameFail || h.id != id || e == nil || e.Code != code || e.NotRun != notRun {
		t.Errorf("got %+v, %#v, want the failure of call %d with %s", h, err, id, code)
	}
}

// However a caller breaks the protocol, the worker ends this connection, says
// why, and nothing hangs.
func TestABrokenCallerLosesTheConnection(t *testing.T) {
	unary := header{typ: frameRequest, flags: flagEnd, id: 9}
	for _, test := range []struct {
		name string
		act  func(*testing.T, *rawCaller)
		want error
	}{
		{"garbage on the lane", func(t *testing.T, r *rawCaller) { r.lane.Write(bytes.Repeat([]byte{0xfe}, 100)) }, ErrProtocol},
		{"a frame too large for the lane", func(t *testing.T, r *rawCaller) {
			r.lane.Write(header{typ: frameRequest, flags: flagEnd, id: 9, length: laneMax + 1}.append(nil))
		}, ErrProtocol},
		{"a worker's frame", func(t *testing.T, r *rawCaller) { spoil(r.lane, header{typ: frameResult, id: 9}) }, ErrProtocol},
		{"a request without a header", func(t *testing.T, r *rawCaller) { spoil(r.lane, unary) }, ErrProtocol},
		{"a request whose header is no array", func(t *testing.T, r *rawCaller) { spoil(r.lane, unary, 0x01) }, ErrProtocol},
		{"a request whose header has a key twice", func(t *testing.T, r *rawCaller) {
			spoil(r.lane, unary, 0x83, 0x61, 'm', 0x00, 0xa2, 0x61, 'k', 0x60, 0x61, 'k', 0x60)
		}, ErrProtocol},
		{"a request without flags", func(t *testing.T, r *rawCaller) {
			spoil(r.lane, header{typ: frameRequest, id: 9}, request("m")...)
		}, ErrProtocol},
		{"a request with unknown flags", func(t *testing.T, r *rawCaller) {
			spoil(r.lane, header{typ: frameRequest, flags: 4 | flagEnd, id: 9}, request("m")...)
		}, ErrProtocol},
		{"a notification with messages", func(t *testing.T, r *rawCaller) {
			spoil(r.open(), header{typ: frameRequest, flags: flagEnd | flagStream | flagNotify, id: 9}, request("m")...)
		}, ErrProtocol},
		{"a notification without the end of its messages", func(t *testing.T, r *rawCaller) {
			spoil(r.lane, header{typ: frameRequest, flags: flagNotify, id: 9}, request("m")...)
		}, ErrProtocol},
		{"a stream call on the lane", func(t *testing.T, r *rawCaller) {
			spoil(r.lane, header{typ: frameRequest, flags: flagEnd | flagStream, id: 9}, request("flood")...)
		}, ErrProtocol},
		{"a message outside of a call", func(t *testing.T, r *rawCaller) {
			spoil(r.open(), header{typ: frameMessage, id: 9})
		}, ErrProtocol},
		{"garbage on a stream", func(t *testing.T, r *rawCaller) { r.open().Write(make([]byte, 16)) }, ErrProtocol},
		{"the lane closed", func(t *testing.T, r *rawCaller) { r.lane.Close() }, nil},
		{"the session closed", func(t *testing.T, r *rawCaller) { r.session.Close() }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			breakCaller(t, test.act, test.want)
		})
	}
}

// breakCaller has act spoil a connection on which a call waits.
func breakCaller(t *testing.T, act func(*testing.T, *rawCaller), want error) {
	t.Helper()
	caller, worker := socket(t)
	served, cause := make(chan error, 1), make(chan error, 1)
	go func() {
		sc, err := Accept(t.Context(), worker, AcceptConfig{})
		if err == nil {
			err = sc.Serve(context.Background(), func(ctx context.Context, call *Call) ([]byte, error) {
				_, err := echo(ctx, call)
				cause <- context.Cause(ctx)
				return nil, err
			})
		}
		served <- err
	}()
	if _, _, err := greet(caller, Hello{}); err != nil {
		t.Fatal(err)
	}
	session, err := newSession(caller)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	r := &rawCaller{t: t, session: session}
	r.lane = r.open()
	put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: 1}, request("wait")...)
	act(t, r)
	err = receiveFrom(t, "the end of Serve", served)
	if want != nil {
		wantErr(t, err, want)
	}
	select {
	case got := <-cause:
		wantErr(t, got, ErrConnectionLost)
	default: // the call had not begun
	}
}

func TestTheLimitOfCallsInFlightRefusesFurtherOnes(t *testing.T) {
	r, sc := newRawCaller(t, AcceptConfig{MaxCalls: 2}, echo)
	for id := range uint64(2) {
		put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: id + 1}, request("wait")...)
	}
	for id := range uint64(100) {
		put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: id + 10}, request("echo")...)
	}
	for id := range uint64(100) {
		h, payload := get(t, r.lane)
		wantFail(t, h, payload, id+10, CodeExhausted, true)
	}
	put(t, r.lane, header{typ: frameCancel, id: 1}, cancelCaller)
	h, payload := get(t, r.lane)
	wantFail(t, h, payload, 1, CodeCanceled, false)
	put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: 3}, request("echo", 'x')...)
	if h, payload := get(t, r.lane); h.typ != frameResult || string(payload) != "x" {
		t.Errorf("got %+v %q", h, payload)
	}
	put(t, r.lane, header{typ: frameCancel, id: 2}, cancelDeadline)
	h, payload = get(t, r.lane)
	wantFail(t, h, payload, 2, CodeDeadline, false)
	idle(t, sc)
}

// LESSONS 30: an answer that who reads has collected goes out, and what follows
// is read, though the next handler waits.
func TestACollectedAnswerDoesNotWaitForTheNextHandler(t *testing.T) {
	r, sc := newRawCaller(t, AcceptConfig{}, echo)
	trust(sc, "echo")
	trust(sc, "wait")
	var batch []byte
	for id, method := range []string{"echo", "wait", "echo"} {
		frame := newFrame(header{typ: frameRequest, flags: flagEnd, id: uint64(id + 1)}, request(method, 'x'))
		batch = append(batch, frame.frame()...)
	}
	if _, err := r.lane.Write(batch); err != nil {
		t.Fatal(err)
	}
	for _, id := range []uint64{1, 3} {
		if h, payload := get(t, r.lane); h.id != id || h.typ != frameResult || string(payload) != "x" {
			t.Errorf("got %+v %q, want the answer of call %d", h, payload, id)
		}
	}
	await(t, "the end of the trust in the method that waits", func() bool {
		sc.mu.Lock()
		defer sc.mu.Unlock()
		return *sc.paces["wait"] == pace{tiny: lateCredit}
	})
	put(t, r.lane, header{typ: frameCancel, id: 2}, cancelCaller)
	h, payload := get(t, r.lane)
	wantFail(t, h, payload, 2, CodeCanceled, false)
	idle(t, sc)
}

func TestACallIDThatIsInUseIsRefused(t *testing.T) {
	r, _ := newRawCaller(t, AcceptConfig{}, echo)
	put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: 1}, request("wait")...)
	put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: 1}, request("echo")...)
	h, payload := get(t, r.lane)
	wantFail(t, h, payload, 1, CodeInvalid, true)
}

// LESSONS 30: who sends without reading the answers loses the connection, not
// the worker its memory.
func TestACallerThatFloodsAndDoesNotReadLosesTheConnection(t *testing.T) {
	r, sc := newRawCaller(t, AcceptConfig{}, echo)
	frame := newFrame(header{typ: frameRequest, flags: flagEnd}, request("echo", make([]byte, 500)...)).frame()
	batch := bytes.Repeat(frame, 100)
	flooded := make(chan error, 1)
	id := uint64(0)
	go func() {
		for {
			for i := range 100 {
				id++
				header{length: uint32(len(frame) - headerSize), typ: frameRequest, flags: flagEnd, id: id}.append(batch[i*len(frame) : i*len(frame)])
			}
			if _, err := r.lane.Write(batch); err != nil {
				flooded <- err
				return
			}
		}
	}()
	receiveFrom(t, "the end of the connection", flooded)
	receiveFrom(t, "the end at the worker", sc.session.CloseChan())
	if err := sessionFault(sc.session); !errors.Is(err, ErrProtocol) {
		t.Errorf("got %v", err)
	}
	if n := sc.lane.backlog(); n > 3*DefaultMaxCalls {
		t.Errorf("%d answers were kept", n)
	}
}

func TestACancelMayOvertakeTheRequestOfAStream(t *testing.T) {
	r, sc := newRawCaller(t, AcceptConfig{}, echo)
	put(t, r.lane, header{typ: frameCancel, id: 5}, cancelCaller)
	put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: 4}, request("echo")...)
	get(t, r.lane) // the cancel has been taken
	s := r.open()
	put(t, s, header{typ: frameRequest, flags: flagEnd, id: 5}, request("wait")...)
	for h, err := readHeader(s); err == nil && h.typ != frameFail; {
		t.Fatalf("got %+v, want a failure or the end", h)
	}
	idle(t, sc)
}

func TestCancelsOfUnknownCallsAreForgottenInTheEnd(t *testing.T) {
	r, sc := newRawCaller(t, AcceptConfig{}, echo)
	for id := range uint64(10 * maxEarly) {
		put(t, r.lane, header{typ: frameCancel, id: id + 1})
	}
	put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: 1 << 40}, request("echo")...)
	get(t, r.lane)
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if len(sc.early) != maxEarly {
		t.Errorf("%d cancels are remembered, want %d", len(sc.early), maxEarly)
	}
}

func TestAResultThatIsNotThereCanNotBeFetched(t *testing.T) {
	r, _ := newRawCaller(t, AcceptConfig{}, echo)
	s := r.open()
	for range 2 {
		put(t, s, header{typ: frameFetch, id: 77})
		h, payload := get(t, s)
		wantFail(t, h, payload, 77, CodeCanceled, false)
	}
}

func big(context.Context, *Call) ([]byte, error) { return make([]byte, 8<<20), nil }

// A caller that gives up while its large result is on the way leaves nothing
// behind at the worker.
func TestATransferThatIsCancelledLeavesNothingBehind(t *testing.T) {
	for _, test := range []struct {
		name  string
		begin func(*rawCaller) *yamux.Stream
	}{
		{"a fetched result", func(r *rawCaller) *yamux.Stream {
			put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: 1}, request("big")...)
			get(t, r.lane)
			s := r.open()
			put(t, s, header{typ: frameFetch, id: 1})
			return s
		}},
		{"a result on its call's stream", func(r *rawCaller) *yamux.Stream {
			s := r.open()
			put(t, s, header{typ: frameRequest, flags: flagEnd, id: 1}, request("big")...)
			return s
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, sc := newRawCaller(t, AcceptConfig{}, handlers{"big": big}.serve)
			s := test.begin(r)
			if _, err := readHeader(s); err != nil {
				t.Fatal(err)
			}
			s.Close()
			put(t, r.lane, header{typ: frameCancel, id: 1}, cancelCaller)
			idle(t, sc)
			await(t, "no streams", func() bool { return sc.session.NumStreams() == 1 })
			if err := sc.Drain(within(t, patience)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAResultThatWaitsToBeFetchedCanBeCancelled(t *testing.T) {
	r, sc := newRawCaller(t, AcceptConfig{}, handlers{"big": big}.serve)
	put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: 1}, request("big")...)
	get(t, r.lane)
	put(t, r.lane, header{typ: frameCancel, id: 1}, cancelCaller)
	idle(t, sc)
}

func TestAMessageOverTheWorkersLimitIsSkipped(t *testing.T) {
	r, _ := newRawCaller(t, AcceptConfig{MaxMessage: 1000}, handlers{"recv": func(_ context.Context, call *Call) ([]byte, error) {
		_, err := call.Recv()
		wantErr(t, err, CodeTooLarge)
		msg, err := call.Recv()
		if err != nil || string(msg) != "small" {
			t.Errorf("got %q, %v", msg, err)
		}
		_, err = call.Recv()
		return nil, err
	}}.serve)
	s := r.open()
	put(t, s, header{typ: frameRequest, flags: flagEnd, id: 1}, request("echo", make([]byte, 1000+laneMax)...)...)
	h, payload := get(t, s)
	wantFail(t, h, payload, 1, CodeTooLarge, true)
	s = r.open()
	put(t, s, header{typ: frameRequest, flags: flagStream, id: 2}, request("recv")...)
	put(t, s, header{typ: frameMessage, id: 2}, make([]byte, 1001)...)
	put(t, s, header{typ: frameMessage, id: 2}, []byte("small")...)
	put(t, s, header{typ: frameMessage, id: 3}, []byte("another call's")...)
	h, payload = get(t, s)
	if err := decodeFail(payload); h.typ != frameFail || h.flags != flagEnd || err == nil {
		t.Errorf("got %+v, %v", h, err)
	}
}

// LESSONS 7: who connects and says nothing is dropped at the deadline.
func TestASilentHandshakeIsDroppedAtTheDeadline(t *testing.T) {
	modes(t, func(t *testing.T, connect func(testing.TB) (net.Conn, net.Conn)) {
		caller, worker := connect(t)
		defer caller.Close()
		_, err := Accept(within(t, 20*time.Millisecond), worker, AcceptConfig{})
		wantErr(t, err, context.DeadlineExceeded)
		if _, err := caller.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the connection is open: %v", err)
		}
	})
}

func TestACallerThatNeverOpensTheLaneIsDroppedAtTheDeadline(t *testing.T) {
	caller, worker := socket(t)
	defer caller.Close()
	accepted := make(chan error, 1)
	go func() {
		_, err := Accept(within(t, 50*time.Millisecond), worker, AcceptConfig{})
		accepted <- err
	}()
	if _, _, err := greet(caller, Hello{}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, receiveFrom(t, "the end of Accept", accepted), context.DeadlineExceeded)
}
