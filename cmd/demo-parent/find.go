package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
)

const workerName = "demo-worker"

// findWorker returns the path of the worker's program: the one that is named, or demo-worker beside this program, or in
// PATH, or built from its source. tell says what is built.
func findWorker(ctx context.Context, named string, tell func(format string, args ...any)) (string, error) {
	if named != "" {
		path, err := exec.LookPath(named)
		if err != nil {
			return "", fmt.Errorf("find the worker: %w", err)
		}
		return path, nil
	}
	if path := besideSelf(); path != "" {
		return path, nil
	}
	if path, err := exec.LookPath(workerName); err == nil {
		return path, nil
	}
	path, err := buildWorker(ctx, tell)
	if err != nil && ctx.Err() == nil {
		return "", fmt.Errorf("%s is neither beside this program nor in PATH, and can't be built (-worker names one): %w", workerName, err)
	}
	return path, err
}

// besideSelf returns the worker in this program's directory, empty if there is none.
func besideSelf() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	path, err := exec.LookPath(filepath.Join(filepath.Dir(self), workerName))
	if err != nil {
		return ""
	}
	return path
}

// recipe is how the worker is built.
type recipe struct {
	dir  string   // where the go command runs; empty means anywhere
	args []string // of the go command
}

// buildWorker returns the path of the worker that was built in the user's cache, and builds it if the source has changed
// since. The go command puts the result into place in one step, so that nobody who does the same at the same time sees
// half of it.
func buildWorker(ctx context.Context, tell func(format string, args ...any)) (string, error) {
	from, err := source()
	if err != nil {
		return "", err
	}
	cache, err := cacheDir(from)
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, workerName+executableSuffix())
	state := newState(from)
	if state.isOf(path) {
		return path, nil
	}
	how := recipeFor(from, path)
	tell("building %s from %s", workerName, from)
	cmd := exec.CommandContext(ctx, "go", how.args...)
	cmd.Dir = how.dir
	// The target of the check is not that of the worker, and neither are the workspace, the flags and the use of cgo.
	cmd.Env = append(os.Environ(), "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH, "GOWORK=off", "GOFLAGS=-buildvcs=false",
		"CGO_ENABLED=0", "GOBIN="+cache, "GOTMPDIR="+cache)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(how.args, " "), err, bytes.TrimSpace(out.Bytes()))
	}
	return path, state.keep(path)
}

// recipeFor returns how to build the worker from what source has found.
func recipeFor(from, path string) recipe {
	if filepath.IsAbs(from) {
		return recipe{dir: from, args: []string{"build", "-o", path, "."}}
	}
	return recipe{args: []string{"install", from}}
}

// source returns the directory of the worker's source or, if this program was not built here, the package with its
// version.
func source() (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		dir := filepath.Join(filepath.Dir(filepath.Dir(file)), workerName)
		if _, err := os.Stat(filepath.Join(dir, "main.go")); err == nil {
			return dir, nil
		}
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || !strings.HasPrefix(info.Main.Version, "v") {
		return "", errors.New("its source is not known")
	}
	return fmt.Sprintf("%s/cmd/%s@%s", info.Main.Path, workerName, info.Main.Version), nil
}

// cacheDir returns the directory for workers from one source.
func cacheDir(from string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(from))
	dir := filepath.Join(cache, "unref", fmt.Sprintf("%s-%x", workerName, sum[:6]))
	return dir, os.MkdirAll(dir, 0o700)
}

func executableSuffix() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}
