package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAHandshakeTellsEachSideWhoTheOtherIs(t *testing.T) {
	self := Welcome{Name: "checker", Build: "b1", Instance: "i1", Pid: 42, Features: []string{"x"}}
	hello := Hello{Name: "checker", Build: "b1", Instance: "i1", Secret: []byte("s"), Pid: 7, Features: []string{"y"}}
	modes(t, func(t *testing.T, connect func(testing.TB) (net.Conn, net.Conn)) {
		c, sc := pairWith(t, connect, DialConfig{Hello: hello, MaxMessage: 1000}, AcceptConfig{Self: self, Secret: []byte("s"), MaxMessage: 2000}, echo)
		if got := fmt.Sprint(c.Welcome()); got != "{1 checker b1 i1 42 2000 [x notify]}" {
			t.Errorf("got the welcome %s", got)
		}
		if got := fmt.Sprint(sc.Hello()); got != "{checker b1 i1 [115] 7 1000 [y]}" {
			t.Errorf("got the hello %s", got)
		}
	})
}

// A mismatch is typed on both sides and names both values.
func TestAMismatchNamesTheFieldAndBothValues(t *testing.T) {
	self := Welcome{Name: "checker", Build: "b1", Instance: "i1"}
	for _, test := range []struct {
		hello Hello
		want  *MismatchError
		field error
	}{
		{Hello{Name: "other", Secret: []byte("s")}, &MismatchError{"name", "other", "checker"}, ErrName},
		{Hello{Build: "b2", Secret: []byte("s")}, &MismatchError{"build", "b2", "b1"}, ErrBuild},
		{Hello{Instance: "i2", Secret: []byte("s")}, &MismatchError{"instance", "i2", "i1"}, ErrInstance},
		{Hello{Secret: []byte("wrong")}, &MismatchError{"secret", "", ""}, ErrSecret},
		{Hello{}, &MismatchError{"secret", "", ""}, ErrSecret},
	} {
		caller, worker := socket(t)
		refused := make(chan error, 1)
		go func() {
			_, err := Accept(t.Context(), worker, AcceptConfig{Self: self, Secret: []byte("s")})
			refused <- err
		}()
		_, err := newConn(t.Context(), caller, DialConfig{Hello: test.hello})
		caller.Close()
		for side, err := range map[string]error{"caller": err, "worker": receiveFrom(t, "the refusal", refused)} {
			got, ok := errors.AsType[*MismatchError](err)
			if !ok || *got != *test.want || !errors.Is(err, test.field) {
				t.Errorf("%s: got %v, want %v", side, err, test.want)
			}
			wantNoErr(t, err, ErrVersion, ErrNoHandshake)
		}
		for _, value := range []string{test.want.Want, test.want.Got} {
			if !strings.Contains(err.Error(), value) {
				t.Errorf("%q does not say %q", err, value)
			}
		}
	}
}

func TestASecretIsInNoErrorText(t *testing.T) {
	caller, worker := socket(t)
	go Accept(t.Context(), worker, AcceptConfig{Secret: []byte("sesame")})
	_, err := newConn(t.Context(), caller, DialConfig{Hello: Hello{Secret: []byte("guess")}})
	caller.Close()
	if got := fmt.Sprintf("%v %#v", err, err); strings.Contains(got, "sesame") || strings.Contains(got, "guess") {
		t.Errorf("got %s", got)
	}
}

func TestAWorkerRefusesVersionsAndKindsThatItDoesNotSpeak(t *testing.T) {
	for _, test := range []struct {
		preamble preamble
		want     string
	}{
		{preamble{a: 2, b: 9, kind: connSession}, "version 2 to 9 1"},
		{preamble{a: 0, b: 0, kind: connSession}, "version 0 1"},
		{preamble{a: 1, b: 1, kind: 'F'}, "kind F Y"},
		{preamble{a: 1, b: 1, kind: 0xff}, "kind ÿ Y"},
	} {
		caller, worker := socket(t)
		refused := make(chan error, 1)
		go func() {
			_, err := Accept(t.Context(), worker, AcceptConfig{})
			refused <- err
		}()
		if err := writeHandshake(caller, test.preamble, map[string]int{"from the future": 1}); err != nil {
			t.Fatal(err)
		}
		p, body, err := readHandshake(caller)
		var e MismatchError
		if err == nil {
			err = Codec{}.Decode(body, &e)
		}
		if got := e.Field + " " + e.Want + " " + e.Got; err != nil || got != test.want || p.a != 0 || p.kind != test.preamble.kind {
			t.Errorf("got %q, %+v, %v, want %q", got, p, err, test.want)
		}
		if got, ok := errors.AsType[*MismatchError](receiveFrom(t, "the refusal", refused)); !ok || *got != e {
			t.Errorf("the worker's error is %v", got)
		}
		caller.Close()
	}
}

func TestAWorkerTakesTheHighestCommonVersion(t *testing.T) {
	c, w := net.Pipe()
	go receive(w, AcceptConfig{})
	if err := writeHandshake(c, preamble{a: 0, b: 9, kind: connSession}, Hello{}); err != nil {
		t.Fatal(err)
	}
	if p, _, err := readHandshake(c); err != nil || p.a != maxVersion {
		t.Errorf("got version %d, %v", p.a, err)
	}
}

func TestACallerRefusesAVersionThatItDoesNotSpeak(t *testing.T) {
	c, w := net.Pipe()
	go func() {
		readHandshake(w)
		writeHandshake(w, preamble{a: 9, kind: connSession}, Welcome{})
	}()
	_, _, err := greet(c, Hello{})
	wantErr(t, err, ErrVersion)
}

func TestUnknownFieldsInAHandshakeAreIgnored(t *testing.T) {
	c, w := net.Pipe()
	go func() {
		readHandshake(w)
		writeHandshake(w, preamble{a: 1, kind: connSession}, map[string]any{"name": "n", "shoe_size": 43})
	}()
	if welcome, _, err := greet(c, Hello{}); err != nil || welcome.Name != "n" {
		t.Errorf("got %+v, %v", welcome, err)
	}
}

// LESSONS 7: ready means that the handshake was answered.
func TestNoAnswerToTheHandshakeIsAnErrorOfItsOwn(t *testing.T) {
	l, err := Listen(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Dial(within(t, 20*time.Millisecond), l.path, DialConfig{}) // nobody accepts
	wantErr(t, err, ErrNoHandshake, context.DeadlineExceeded)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			readHandshake(conn)
			conn.Close()
		}
	}()
	for range 2 {
		_, err = Dial(t.Context(), l.path, DialConfig{})
		if err == nil || !errors.Is(err, ErrNoHandshake) {
			// The first connection was accepted after its caller had left.
			t.Errorf("got %v, want no answer to the handshake", err)
		}
	}
	_, err = Dial(t.Context(), filepath.Join(t.TempDir(), "nobody"), DialConfig{})
	wantErr(t, err, os.ErrNotExist)
	wantNoErr(t, err, ErrNoHandshake)
}

func TestAStrangerIsAProtocolViolation(t *testing.T) {
	for name, answer := range map[string]string{
		"another protocol":   "HTTP/1.1 400 Bad Request\r\n\r\n",
		"too long":           "unrf\x01\x00Y\x00\x00\x01\x00\x00",
		"no CBOR":            "unrf\x01\x00Y\x00\x00\x00\x00\x01\xff",
		"a refusal, no CBOR": "unrf\x00\x00Y\x00\x00\x00\x00\x01\xff",
	} {
		t.Run(name, func(t *testing.T) {
			c, w := net.Pipe()
			go func() {
				defer w.Close()
				readHandshake(w)
				io.WriteString(w, answer)
			}()
			_, err := newConn(t.Context(), c, DialConfig{})
			wantErr(t, err, ErrProtocol)
			c.Close()
		})
	}
}

func TestAHandshakeLeavesWhatFollowsAlone(t *testing.T) {
	var b bytes.Buffer
	if err := writeHandshake(&b, preamble{a: 1, b: 1, kind: connSession}, Hello{}); err != nil {
		t.Fatal(err)
	}
	b.WriteString("yamux")
	if _, _, err := readHandshake(&b); err != nil || b.String() != "yamux" {
		t.Errorf("left %q, %v", b.String(), err)
	}
}

func TestAConnectionOfTheSameUserIsTaken(t *testing.T) {
	caller, worker := socket(t)
	defer caller.Close()
	defer worker.Close()
	if err := errors.Join(checkPeer(caller), checkPeer(worker)); err != nil {
		t.Error(err)
	}
	caller.Close()
	if err := checkPeer(caller); err == nil {
		t.Error("a closed connection is taken")
	}
}
