package main

import (
	"testing"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

func come(pid int, action client.Action, reason string, differences ...lifecycle.Difference) arrival {
	return arrival{Pid: pid, Shared: true, Decision: client.Decision{Action: action, Reason: reason, Differences: differences}}
}

func TestWorkersThatHaveComeForOneReasonAreNamedTogether(t *testing.T) {
	env := lifecycle.Difference{Field: "env GOOS", Was: "not set", Is: `"plan9"`}
	for _, test := range []struct {
		list []arrival
		want string
	}{
		{nil, ""},
		{[]arrival{come(1, client.Reused, "worker 1"), come(2, client.Reused, "worker 2")}, "workers: 1, 2 reused: same configuration"},
		{[]arrival{come(1, client.Reused, "worker 1"), come(2, client.Started, "no worker has this name")},
			"workers: 1 reused: same configuration; 2 started: no worker has this name"},
		{[]arrival{come(3, client.Replaced, "worker 1: it is another one", env), come(4, client.Replaced, "worker 2: it is another one", env)},
			`workers: 3, 4 relaunched: env GOOS was not set and is "plan9"`},
		{[]arrival{come(3, client.Replaced, "worker 1: it did not answer for 10s")}, "workers: 3 replaced: worker 1: it did not answer for 10s"},
	} {
		if got := origins(test.list); got != test.want {
			t.Errorf("got\n%s\nwant\n%s", got, test.want)
		}
	}
}

func TestAWorkerIsWarmUnlessItIsNew(t *testing.T) {
	reused, started := come(1, client.Reused, ""), come(2, client.Started, "")
	for _, test := range []struct {
		list []arrival
		want string
	}{
		{nil, warm}, {[]arrival{reused, reused}, warm}, {[]arrival{reused, started}, partly}, {[]arrival{started}, partly},
		{[]arrival{started, started}, cold},
	} {
		if got := warmth(2, test.list); got != test.want {
			t.Errorf("two workers with %v are %s, want %s", test.list, got, test.want)
		}
	}
}

func TestAVariableThatIsSetToNothingIsNotSet(t *testing.T) {
	got := withoutEmpty([]string{"GOOS=", "GOARCH=wasm", "OTHER="}, []string{"GOOS", "GOARCH"})
	if len(got) != 2 || got[0] != "GOARCH=wasm" || got[1] != "OTHER=" {
		t.Errorf("got %q", got)
	}
}
