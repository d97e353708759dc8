package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

func TestCallTakesAndPrintsJSON(t *testing.T) {
	newRuntimeDir(t)
	attach(t, "web", lifecycle.Self(tester))
	for _, value := range []string{
		`null`, `true`, `"text <&>"`, `12`, `-12`, `12.5`, `12.0`, `1e+30`, `9007199254740993`, `18446744073709551615`, `-18446744073709551616`,
		`123456789012345678901234567890`, `[1,"two",[3]]`, `{"a":{"b":[]},"c":null}`, `{"$base64":"aGVsbG8="}`, `{"$map":[[1,"a"],[true,"b"]]}`,
		`{"$map":[["$map","a"]]}`, `{"$float":"NaN"}`, `{"$float":"-Infinity"}`, `{"$tag":[1000,"x"]}`, `{"$base64":"AA==","b":1}`,
		`{"$map":[[{"$base64":"AA=="},1]]}`,
	} {
		if r := unref(t, "call", "web", "echo", "--", value); r.status != exitOK || r.out != value+"\n" {
			t.Errorf("%s: got %+v", value, r)
		}
	}
}

func TestCallSpeaksToTypedHandlers(t *testing.T) {
	newRuntimeDir(t)
	attach(t, "web", lifecycle.Self(tester))
	const value = `{"big":18446744073709551615,"data":{"$base64":"AAE="},"names":{"$map":[[1,"one"]]},"part":0.5,"small":-3,"when":"2026-01-02T03:04:05.6Z"}`
	if r := unrefWith(t, value, "call", "web", "typed", "-"); r.out != value+"\n" {
		t.Errorf("got %+v", r)
	}
	unref(t, "call", "web", "typed", `{"part": 3}`).want(t, exitOK, `"part":3.0`)
	unref(t, "call", "web", "typed", `{"small": "x"}`).want(t, exitNo, "invalid argument")
}

func TestCallPrintsMessagesOfStreams(t *testing.T) {
	newRuntimeDir(t)
	attach(t, "web", lifecycle.Self(tester))
	if r := unref(t, "call", "web", "count", "3"); r.out != "0\n1\n2\n" || r.status != exitOK {
		t.Errorf("stream: got %+v", r)
	}
	if r := unrefWith(t, "1\n2 20\n", "call", "web", "double"); r.out != "2\n4\n40\n" || r.status != exitOK {
		t.Errorf("bidi: got %+v", r)
	}
	if r := unref(t, "call", "web", "double", "21"); r.out != "42\n" || r.status != exitOK {
		t.Errorf("bidi with an argument: got %+v", r)
	}
	r := unrefWith(t, "1\n{", "call", "web", "double", "-")
	if r.status != exitNo || !strings.Contains(r.errors, "read JSON") {
		t.Errorf("bidi with half a value: got %+v", r)
	}
	r = unrefWith(t, `"x"`, "call", "web", "double", "-")
	if r.status != exitNo || !strings.Contains(r.errors, "invalid argument") {
		t.Errorf("bidi with a wrong value: got %+v", r)
	}
}

// A conversation goes back and forth: nothing waits for the end of the input.
func TestCallAnswersWhileItIsSpokenTo(t *testing.T) {
	newRuntimeDir(t)
	attach(t, "web", lifecycle.Self(tester))
	stdin, input := io.Pipe()
	output, stdout := io.Pipe()
	status := make(chan int, 1)
	go func() { status <- run(t.Context(), []string{"call", "web", "double"}, stdin, stdout, t.Output()) }()
	for _, n := range []string{"1", "2"} {
		if _, err := io.WriteString(input, n+"\n"); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 16)
		got, err := output.Read(buf)
		if want := map[string]string{"1": "2\n", "2": "4\n"}[n]; err != nil || string(buf[:got]) != want {
			t.Errorf("got %q, %v, want %q", buf[:got], err, want)
		}
	}
	input.Close()
	if got := <-status; got != exitOK {
		t.Errorf("exit status %d", got)
	}
}

func TestCallSaysWhatIsWrong(t *testing.T) {
	newRuntimeDir(t)
	attach(t, "web", lifecycle.Self(tester))
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"ecko"}, []string{`no method "ecko"`, "did you mean echo?"}},
		{[]string{"status"}, []string{"no method", "it has count, double, echo"}},
		{[]string{"unref.state"}, []string{"unref.status"}},
		{[]string{"pipe"}, []string{"raw", "client.Worker.Dial"}},
		{[]string{"fail"}, []string{"it went wrong", `{"line":12}`}},
		{[]string{"echo", "{"}, []string{"read JSON"}},
		{[]string{"echo", "1 2"}, []string{"more than one value"}},
		{[]string{"echo", "-"}, []string{"there is none"}},
		{[]string{"echo", `{"$base64": 1}`}, []string{"$base64"}},
		{[]string{"hang", "--timeout", "20ms"}, []string{"deadline exceeded"}},
	} {
		r := unref(t, append([]string{"call", "web"}, tt.args...)...)
		r.want(t, exitNo, tt.want...)
		if strings.Count(r.errors, "\n") != 1 {
			t.Errorf("%q: got %q, want one line", tt.args, r.errors)
		}
	}
}

func TestCallCanBeInterrupted(t *testing.T) {
	newRuntimeDir(t)
	w := attach(t, "web", lifecycle.Self(tester))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, []string{"call", "web", "hang"}, strings.NewReader(""), io.Discard, t.Output())
	}()
	await(t, "the call", func() bool {
		s, err := w.Status(t.Context())
		return err == nil && s.InFlight == 1
	})
	cancel()
	if got := <-status; got != exitInterrupt {
		t.Errorf("exit status %d, want %d", got, exitInterrupt)
	}
}

func TestSimilarNamesAreFound(t *testing.T) {
	names := []string{"demo.check", "list", "lists", "unref.status"}
	for name, want := range map[string]string{"check": "demo.check", "Lsit": "list", "lis": "list,lists", "xyz": ""} {
		if got := strings.Join(similar(name, names), ","); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := noMethod("w", "x", []transport.MethodInfo{{Name: "unref.status"}}); !strings.HasSuffix(got, "and no other") {
		t.Errorf("got %q", got)
	}
}

func TestMethodsAndStacksAreShown(t *testing.T) {
	newRuntimeDir(t)
	attach(t, "web", lifecycle.Self(tester))
	unref(t, "methods", "web").want(t, exitOK, "METHOD", "count", "stream", "double", "bidi", "pipe", "raw", "unref.status")
	unref(t, "methods", "--json", "web").want(t, exitOK, `"name": "echo"`, `"kind": "unary"`)
	unref(t, "stacks", "web").want(t, exitOK, "goroutine ", "TestMain(")
}
