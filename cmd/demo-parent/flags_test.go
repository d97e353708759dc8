package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/detached-workers/unref/transport"
)

func TestFlagsMayStandAnywhereBeforeADoubleDash(t *testing.T) {
	for _, test := range []struct {
		line    string
		want    string
		json    bool
		workers int
	}{
		{"-j 7", "", false, 7},
		{"./... -json", "./...", true, 1},
		{"a -j 2 b --json c", "a b c", true, 2},
		{"-j 3 -- -json a", "-json a", false, 3},
		{"a -- -- b", "a -- b", false, 1},
	} {
		o, err := parseCheck(append([]string{"-j", "1"}, strings.Fields(test.line)...), io.Discard)
		if err != nil {
			t.Errorf("%q: %v", test.line, err)
			continue
		}
		if !slices.Equal(o.patterns, strings.Fields(test.want)) || o.json != test.json || o.workers != test.workers {
			t.Errorf("%q: got %+v", test.line, o)
		}
	}
}

func TestHelpGoesToStdoutAndIsNoError(t *testing.T) {
	var out bytes.Buffer
	_, err := parseCheck([]string{"a", "-h"}, &out)
	if !errors.Is(err, flag.ErrHelp) || !strings.HasPrefix(out.String(), "Usage: demo-parent check ") {
		t.Errorf("got error %v and %q", err, out.String())
	}
}

func TestHelpListsFlagsOnlyIfThereAreSome(t *testing.T) {
	for _, some := range []bool{true, false} {
		f := newFlags("name", "", "Text.")
		if some {
			f.Bool("flag", false, "")
		}
		var out bytes.Buffer
		f.SetOutput(&out)
		f.Usage()
		if got := out.String(); strings.Contains(got, "Flags:") != some || !strings.HasPrefix(got, "Usage: demo-parent name\n\nText.\n") {
			t.Errorf("with flags %v: got %q", some, got)
		}
	}
}

func TestTagsAreSeparatedByCommas(t *testing.T) {
	o := checkOptions{tags: "a,b,,c"}
	if got := o.plan().Tags; !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("got %q", got)
	}
}

func TestEachOutcomeHasItsExitStatus(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	refused := &transport.Error{Code: transport.CodeInvalid, Method: "plan", Message: "no such package"}
	for _, test := range []struct {
		name   string
		ctx    context.Context
		err    error
		status int
		stderr string
	}{
		{"success", t.Context(), nil, 0, ""},
		{"help", t.Context(), flag.ErrHelp, 0, ""},
		{"diagnostics", t.Context(), errFound, 1, ""},
		{"trouble", t.Context(), errors.New("oops"), 2, "demo-parent: oops\n"},
		{"refused request", t.Context(), fmt.Errorf("call: %w", refused), 2, "demo-parent: no such package\n"},
		{"timeout", t.Context(), &transport.Error{Code: transport.CodeDeadline, Method: "check", Message: "silence"}, 2,
			"demo-parent: check: deadline exceeded: silence (-timeout sets the limit)\n"},
		{"interrupt", ended, errors.New("whatever"), 130, ""},
		{"success just before an interrupt", ended, nil, 0, ""},
		{"closed pipe", t.Context(), fmt.Errorf("write: %w", syscall.EPIPE), 141, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stderr bytes.Buffer
			status := exitStatus(test.ctx, test.err, &stderr)
			if status != test.status || stderr.String() != test.stderr {
				t.Errorf("got status %d and %q, want %d and %q", status, stderr.String(), test.status, test.stderr)
			}
		})
	}
}
