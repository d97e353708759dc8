package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"sync"
	"testing"
	"time"
)

// scripted is a connection whose other side says what a fuzzer makes up, and
// listens to nothing.
type scripted struct {
	net.Conn
	in *bytes.Reader
}

func (s scripted) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s scripted) Write(p []byte) (int, error) { return len(p), nil }

func FuzzHandshake(f *testing.F) {
	hello, welcome, refusal := new(bytes.Buffer), new(bytes.Buffer), new(bytes.Buffer)
	writeHandshake(hello, preamble{a: minVersion, b: maxVersion, kind: connSession}, Hello{Name: "n", Pid: 1})
	writeHandshake(welcome, preamble{a: maxVersion, kind: connSession}, Welcome{Name: "n", Pid: 1})
	writeHandshake(refusal, preamble{kind: connSession}, ErrBuild)
	for _, seed := range []*bytes.Buffer{hello, welcome, refusal} {
		f.Add(seed.Bytes())
		f.Add(seed.Bytes()[:seed.Len()/2])
	}
	f.Add([]byte("unrf\x01\x01Y\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := receive(scripted{in: bytes.NewReader(data)}, AcceptConfig{Self: Welcome{Name: "n"}}); err != nil {
			_ = err.Error()
		}
		if _, _, err := greet(scripted{in: bytes.NewReader(data)}, Hello{}); err != nil {
			_ = err.Error()
		}
	})
}

// FuzzFrame feeds bytes to the readers of single frames and of what is in them.
func FuzzFrame(f *testing.F) {
	f.Add(newFrame(header{typ: frameRequest, flags: flagEnd, id: 1}, request("echo", 1, 2, 3)).frame())
	f.Add(newFrame(header{typ: frameFail, id: 1}, encodeFail(ErrorOf(Errorf("app.x", "y: %w", io.EOF)))).frame())
	f.Add(header{length: 1<<32 - 1, typ: frameResult, id: 1}.append(nil))
	f.Add([]byte{0, 0, 0, 1, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xf6})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		h, err := readHeader(r)
		if err != nil {
			return
		}
		if got, err := parseHeader(h.append(nil)); err != nil || got != h {
			t.Fatalf("%+v became %+v, %v", h, got, err)
		}
		buf, err := readPayload(r, h)
		if err != nil {
			return
		}
		payload := buf.bytes()
		if h, body, ok := usualHeader(payload); ok {
			var want requestHeader
			rest, err := decLax.UnmarshalFirst(payload, &want)
			if err != nil || !bytes.Equal(body, rest) || !reflect.DeepEqual(h, want) {
				t.Fatalf("got %+v and %x, the codec says %+v, %x, %v", h, body, want, rest, err)
			}
		}
		if e, ok := errors.AsType[*Error](decodeFail(payload)); ok {
			wantNoErr(t, e, io.ErrNoProgress)
			_, _ = e.Error(), decodeFail(encodeFail(ErrorOf(e)))
		}
		var v any
		if (Codec{}).Decode(payload, &v) == nil {
			if _, err := (Codec{}).Encode(v); err != nil {
				wantErr(t, err, CodeEncode)
			}
		}
	})
}

// FuzzLane plays bytes to a worker on its lane and on a stream: it answers or
// ends the connection, and nothing is left.
func FuzzLane(f *testing.F) {
	unary := newFrame(header{typ: frameRequest, flags: flagEnd, id: 1}, request("echo", 1)).frame()
	bidi := newFrame(header{typ: frameRequest, flags: flagStream, id: 2}, request("bidi")).frame()
	message := newFrame(header{typ: frameMessage, id: 2}, []byte("m")).frame()
	f.Add(unary, append(bidi, message...))
	f.Add(append(unary, newFrame(header{typ: frameCancel, id: 1}, []byte{1}).frame()...), unary)
	f.Add([]byte{}, newFrame(header{typ: frameFetch, id: 1}).frame())
	notify := newFrame(header{typ: frameRequest, flags: flagEnd | flagNotify, id: 1}, request("panic")).frame()
	f.Add(notify, notify)
	f.Add(newFrame(header{typ: frameRequest, flags: flagEnd, id: 1}, request("panic")).frame(), []byte("garbage that is longer than a header"))
	f.Fuzz(func(t *testing.T, lane, stream []byte) {
		caller, worker := net.Pipe()
		served := make(chan struct{})
		go func() {
			defer close(served)
			sc, err := Accept(t.Context(), worker, AcceptConfig{MaxMessage: 1 << 20})
			if err == nil {
				sc.Serve(context.Background(), func(ctx context.Context, call *Call) ([]byte, error) {
					call.Received()
					if call.Notify && call.Method == "wait" { // for which there is no end here
						return nil, nil
					}
					if call.Kind == KindStream { // an endless one would only take time
						return nil, call.Send(call.Body)
					}
					return echo(ctx, call)
				})
			}
		}()
		if _, _, err := greet(caller, Hello{MaxMessage: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		c := &rawCaller{t: t, session: must(newSession(caller))}
		c.lane = c.open()
		s := c.open()
		s.Write(stream)
		c.lane.Write(lane)
		s.Close()
		c.lane.Close()
		go io.Copy(io.Discard, s)
		receiveFrom(t, "the end of Serve", served)
		c.session.Close()
	})
}

// program is what a fuzzer wants a session to go through.
type program struct {
	t       *testing.T
	c       *Conn
	sc      *ServerConn
	streams []*Stream
	calls   sync.WaitGroup
	mu      sync.Mutex // protects the counts
	begun   int
	settled int
}

// call makes a call in the background and counts its outcome.
func (p *program) call(ctx context.Context, method string, size int) {
	p.begun++
	p.calls.Go(func() {
		got, err := p.c.Call(ctx, Request{Method: method, Body: bytes.Repeat([]byte{byte(size)}, size)})
		p.mu.Lock()
		defer p.mu.Unlock()
		p.settled++
		if err == nil && (len(got) != size || size > 0 && got[0] != byte(size)) {
			p.t.Errorf("a call of %d bytes was answered with %d", size, len(got))
		}
	})
}

func (p *program) open(method string, end bool) {
	s, err := p.c.Open(p.t.Context(), Request{Method: method, Body: []byte("x")}, end)
	if err == nil {
		p.streams = append(p.streams, s)
	}
}

// stream returns one of the streams, nil if there is none.
func (p *program) stream(arg byte) *Stream {
	if len(p.streams) == 0 {
		return nil
	}
	return p.streams[int(arg)%len(p.streams)]
}

// sizes of messages: on the lane, at its edge, on a stream.
var sizes = []int{0, 1, 500, laneMax - 100, laneMax + 1, 100_000}

func (p *program) step(op, arg byte) {
	soon, cancel := context.WithTimeout(p.t.Context(), time.Duration(arg)*20*time.Microsecond)
	switch size := sizes[int(arg)%len(sizes)]; op % 13 {
	case 0, 1:
		p.call(context.Background(), "echo", size)
	case 2:
		p.call(soon, "echo", size)
		cancel = func() {}
	case 3:
		p.call(soon, "wait", size)
	case 4:
		p.open("bidi", false)
	case 5:
		p.open("flood", true)
	case 6, 7:
		if s := p.stream(arg); s != nil {
			s.Send(soon, make([]byte, size))
		}
	case 8:
		if s := p.stream(arg); s != nil {
			s.Recv(soon)
		}
	case 9:
		if s := p.stream(arg); s != nil {
			s.Cancel(arg%2 == 0)
		}
	case 10:
		if s := p.stream(arg); s != nil {
			s.CloseSend(soon)
		}
	case 11:
		p.call(context.Background(), "goexit", size)
	case 12:
		p.sc.Ring()
	}
	cancel()
}

// FuzzSession drives both ends with a program of calls, streams, sends and
// cancels, and then ends the connection in one of several ways. Every call
// settles once, and nothing is left.
func FuzzSession(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 4, 0, 5, 1, 3, 2, 4, 11, 4}, byte(0))
	f.Add([]byte{4, 0, 6, 2, 8, 200, 10, 0, 8, 200, 8, 200, 4, 0, 9, 0}, byte(1))
	f.Add([]byte{5, 0, 8, 200, 9, 0, 5, 0, 8, 255, 0, 5, 9, 1, 0, 5, 0, 5}, byte(2))
	f.Add([]byte{3, 4, 3, 5, 3, 1, 2, 4, 2, 5, 12, 0, 7, 7}, byte(3))
	f.Fuzz(func(t *testing.T, code []byte, end byte) {
		connect := socket
		if end&8 != 0 {
			connect = func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() }
		}
		caller, worker := connect(t)
		accepted := serve(t, worker, AcceptConfig{}, echo)
		c, err := newConn(t.Context(), caller, DialConfig{})
		if err != nil {
			t.Fatal(err)
		}
		p := &program{t: t, c: c, sc: receiveFrom(t, "the worker's end", accepted)}
		for i := 0; i+1 < min(len(code), 80); i += 2 {
			p.step(code[i], code[i+1])
		}
		switch end % 4 {
		case 0: // in peace
			for _, s := range p.streams {
				s.Cancel(false)
			}
			p.calls.Wait()
			idle(t, p.sc)
			sound(t, c)
		case 1:
			p.sc.Close()
		case 2:
			caller.Close()
		case 3:
			c.Close()
		}
		p.calls.Wait()
		c.Close()
		if p.begun != p.settled {
			t.Errorf("%d calls settled %d times", p.begun, p.settled)
		}
		for _, s := range p.streams {
			ctx := within(t, patience)
			var err error
			for err == nil {
				_, err = s.Recv(ctx)
			}
			if ctx.Err() != nil {
				t.Error("a stream does not end")
			}
		}
	})
}
