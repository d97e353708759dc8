package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/detached-workers/unref/lifecycle"
)

// settings are what a worker is started with, beside its environment: one that was started with others is relaunched.
type settings struct {
	// Go is the go command that PATH leads to. PATH itself does not count, because it differs from one shell to the next.
	Go string `json:"go"`
	// Tags are the build tags.
	Tags []string `json:"tags,omitempty"`
}

// goVariables are the variables of the environment on which the answers of the go command depend. Those that only say
// where it keeps things or gets them from are not among them.
var goVariables = []string{
	"AR", "CC", "CGO_CFLAGS", "CGO_CPPFLAGS", "CGO_CXXFLAGS", "CGO_ENABLED", "CGO_FFLAGS", "CGO_LDFLAGS", "CXX", "FC",
	"GCCGO", "GO111MODULE", "GO386", "GOAMD64", "GOARCH", "GOARM", "GOARM64", "GODEBUG", "GOENV", "GOEXPERIMENT",
	"GOFIPS140", "GOFLAGS", "GOMIPS", "GOMIPS64", "GOMODCACHE", "GOOS", "GOPATH", "GOPPC64", "GORISCV64", "GOROOT",
	"GOTOOLCHAIN", "GOWASM", "GOWORK", "HOME", "PKG_CONFIG", "XDG_CONFIG_HOME",
}

// workerCommand describes the workers of a check.
func (o *checkOptions) workerCommand(path string) *lifecycle.Command {
	if o.fresh {
		return &lifecycle.Command{Path: path}
	}
	return &lifecycle.Command{
		Path: path,
		// A shared worker outlives the shell that it was started from, and stays in its directory.
		Dir:            moduleDir(o.dir),
		Env:            withoutEmpty(os.Environ(), goVariables),
		IdleTimeout:    o.idle,
		Config:         settings{Go: goCommand(), Tags: o.tagList()},
		FingerprintEnv: goVariables,
	}
}

// groupName returns the name that the workers have in common, empty if they are not shared.
func (o *checkOptions) groupName() string {
	if o.fresh {
		return ""
	}
	return groupName(moduleDir(o.dir))
}

// goCommand returns the path of the go command, empty if there is none, which the worker will report.
func goCommand() string {
	path, _ := exec.LookPath("go")
	return path
}

// withoutEmpty returns the environment without those of the named variables that are set to nothing: to the go command
// that is the same as not to be set, and so it is for the fingerprint.
func withoutEmpty(env, names []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, value, _ := strings.Cut(kv, "=")
		return value == "" && slices.Contains(names, name)
	})
}
