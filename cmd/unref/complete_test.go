package main

import (
	"strings"
	"testing"

	"github.com/detached-workers/unref/lifecycle"
)

func TestNamesAndMethodsComplete(t *testing.T) {
	newRuntimeDir(t)
	attach(t, "web", lifecycle.Self(tester))
	attach(t, "worker two", lifecycle.Self(tester))
	for _, tt := range []struct {
		args string
		want []string
		not  string
	}{
		{"logs|", []string{"web\t", "worker two\t", ":4"}, "echo"},
		{"logs|we", []string{"web\t"}, "worker two"},
		{"logs|web|", nil, "web\t"},
		{"stop|web|", []string{"worker two\t"}, "web\t"},
		{"call|", []string{"web\t"}, "echo"},
		{"call|web|", []string{"echo\tunary", "count\tstream"}, "web\t"},
		{"call|web|ec", []string{"echo\tunary"}, "count"},
		{"call|ghost|", []string{":1"}, "echo"},
		{"ps|", []string{":4"}, "web"},
	} {
		r := unref(t, append([]string{"__complete"}, strings.Split(tt.args, "|")...)...)
		r.want(t, exitOK, tt.want...)
		if strings.Contains(r.out, tt.not) {
			t.Errorf("%s: got %q", tt.args, r.out)
		}
	}
}

func TestNamesThatAreNotUniqueCompleteAsIDs(t *testing.T) {
	newRuntimeDir(t)
	a, b := startAlone(t), startAlone(t)
	r := unref(t, "__complete", "stop", "")
	r.want(t, exitOK, a.Process().ID()+"\t"+tester, b.Process().ID()+"\t"+tester)
}

func TestEveryShellHasAScript(t *testing.T) {
	for shell, text := range map[string]string{"bash": "complete -o default -F __start_unref unref", "zsh": "#compdef unref", "fish": "complete -c unref"} {
		unref(t, "completion", shell).want(t, exitOK, text)
	}
	unref(t, "completion", "tcsh").want(t, exitUsage, "tcsh", "bash, zsh, fish or powershell")
	unref(t, "completion", "--help").want(t, exitOK, "bash-completion")
	unref(t, "completion").want(t, exitOK, "bash-completion")
}
