package typecheck

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// listed is what `go list` says of a package.
type listed struct {
	ImportPath string
	Name       string
	Dir        string
	Standard   bool
	DepOnly    bool
	ForTest    string
	Module     *struct {
		Main      bool
		GoMod     string
		GoVersion string
		Dir       string
	}
	GoFiles        []string
	CgoFiles       []string
	IgnoredGoFiles []string
	HFiles         []string
	EmbedFiles     []string
	Imports        []string
	ImportMap      map[string]string
	Error          *listError

	// CompiledGoFiles is only asked for by runCgo, and stands for GoFiles and CgoFiles if there are any.
	CompiledGoFiles []string
}

// listError is why the go command can't use a package.
type listError struct {
	ImportStack []string
	Pos         string
	Err         string
}

// listFields are the fields of listed; EmbedPatterns has patterns that match nothing reported.
const listFields = "-json=ImportPath,Name,Dir,Standard,DepOnly,ForTest,Module,GoFiles,CgoFiles,IgnoredGoFiles," +
	"HFiles,EmbedPatterns,EmbedFiles,Imports,ImportMap,Error"

// goEnv is what `go env` says.
type goEnv struct {
	GOARCH, GOENV, GOFLAGS, GOMOD, GOMODCACHE, GOOS, GOROOT, GOVERSION, GOWORK string
}

// goCommand runs the go command and returns what it wrote to standard output.
func goCommand(ctx context.Context, req api.PlanRequest, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = req.Dir
	cmd.Env = append(os.Environ(), "PWD="+req.Dir)
	if req.GOOS != "" {
		cmd.Env = append(cmd.Env, "GOOS="+req.GOOS)
	}
	if req.GOARCH != "" {
		cmd.Env = append(cmd.Env, "GOARCH="+req.GOARCH)
	}
	cmd.WaitDelay = time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if _, exited := errors.AsType[*exec.ExitError](err); exited && errs.Len() > 0 {
		return nil, &RequestError{strings.TrimSpace(errs.String())}
	}
	if err != nil {
		return nil, &RequestError{fmt.Sprintf("run go %s: %v", args[0], err)}
	}
	return out.Bytes(), nil
}

// environment asks the go command for its settings.
func environment(ctx context.Context, req api.PlanRequest) (goEnv, error) {
	var env goEnv
	out, err := goCommand(ctx, req, "env", "-json",
		"GOARCH", "GOENV", "GOFLAGS", "GOMOD", "GOMODCACHE", "GOOS", "GOROOT", "GOVERSION", "GOWORK")
	if err != nil {
		return env, err
	}
	if err := json.Unmarshal(out, &env); err != nil {
		return env, fmt.Errorf("decode the output of go env: %w", err)
	}
	return env, nil
}

// list asks the go command for packages.
func list(ctx context.Context, req api.PlanRequest, flags ...string) ([]listed, error) {
	args := append([]string{"list", "-e"}, flags...)
	if !req.NoTests {
		args = append(args, "-test")
	}
	if len(req.Tags) > 0 {
		args = append(args, "-tags="+strings.Join(req.Tags, ","))
	}
	out, err := goCommand(ctx, req, append(append(args, "--"), req.Patterns...)...)
	if err != nil {
		return nil, err
	}
	var packages []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("decode the output of go list: %w", err)
		}
		if err := p.unusable(); err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
	if len(packages) == 0 {
		return nil, &RequestError{fmt.Sprintf("%s matched no packages", strings.Join(req.Patterns, " "))}
	}
	return packages, nil
}

// unusable returns an error if what `go list` reports is no package at all but a pattern that has no meaning.
func (p *listed) unusable() error {
	if p.Error == nil || p.Name != "" || len(p.Error.ImportStack) > 0 || p.Error.Pos != "" {
		return nil
	}
	text := p.Error.Err
	if strings.HasPrefix(text, "pattern ") || strings.HasPrefix(text, "malformed import path") ||
		strings.HasSuffix(text, "directory not found") {
		return &RequestError{text}
	}
	return nil
}

// path returns the import path without the mark of a variant.
func (p *listed) path() string {
	path, _, _ := strings.Cut(p.ImportPath, " ")
	return path
}

// testMain reports whether this is the generated main package of a test binary.
func (p *listed) testMain() bool {
	return p.Name == "main" && strings.HasSuffix(p.ImportPath, ".test") &&
		len(p.GoFiles) == 1 && filepath.IsAbs(p.GoFiles[0])
}

// target reports whether the patterns name the package. A variant that was made only because a test needs it is none.
func (p *listed) target() bool {
	if p.ForTest != "" && p.path() != p.ForTest && p.path() != p.ForTest+"_test" {
		return false
	}
	return !p.DepOnly
}

// standard reports whether the package is in the standard library or is a test of it.
func (p *listed) standard(env goEnv) bool {
	return p.Standard || within(p.Dir, filepath.Join(env.GOROOT, "src"))
}

// fixed reports whether the files can't change: they are in the standard library or in the module cache.
func (p *listed) fixed(env goEnv) bool {
	if p.standard(env) {
		return !within(env.GOMOD, env.GOROOT)
	}
	return p.Module != nil && !p.Module.Main && within(p.Dir, env.GOMODCACHE)
}

// within reports whether a path is below a directory.
func within(path, dir string) bool {
	return dir != "" && strings.HasPrefix(path, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}

// goVersion returns the language version of the package; modules that say nothing have the one that the go command takes
// for them.
func (p *listed) goVersion() string {
	switch {
	case p.Module == nil:
		return ""
	case p.Module.GoVersion == "":
		return "go1.16"
	}
	return "go" + p.Module.GoVersion
}

// diagnostics returns what the go command has to say against the package, in its form.
func (p *listed) diagnostics() []api.Diagnostic {
	if p.Error == nil {
		return nil
	}
	if text, ok := strings.CutPrefix(p.Error.Err, "# "); ok {
		return toolOutput(text)
	}
	d := positioned(p.Error.Pos)
	d.Message = p.Error.Err
	if stack := p.Error.ImportStack; d.File == "" && len(stack) > 1 {
		d.Message = "package " + strings.Join(stack, "\n\timports ") + ": " + p.Error.Err
	}
	return []api.Diagnostic{d}
}

// toolOutput returns what a tool that the go command ran has printed: the package, and then lines that mostly begin with
// a position.
func toolOutput(text string) []api.Diagnostic {
	var list []api.Diagnostic
	for _, line := range strings.Split(strings.TrimSpace(text), "\n")[1:] {
		position, message, ok := strings.Cut(line, ": ")
		d := positioned(position)
		switch {
		case ok && d.Line > 0:
			d.Message = message
			list = append(list, d)
		case len(list) > 0:
			list[len(list)-1].Message += "\n\t" + strings.TrimSpace(line)
		default:
			list = append(list, api.Diagnostic{Message: line})
		}
	}
	return list
}

// positioned returns a diagnostic with the position that the go command printed as file:line:column; the numbers may be
// missing.
func positioned(text string) api.Diagnostic {
	if text == "" {
		return api.Diagnostic{}
	}
	var numbers []int
	for len(numbers) < 2 {
		i := strings.LastIndexByte(text, ':')
		n, err := strconv.Atoi(text[i+1:])
		if i < 0 || err != nil {
			break
		}
		text, numbers = text[:i], append([]int{n}, numbers...)
	}
	numbers = append(numbers, 0, 0)
	return api.Diagnostic{File: dotted(text), Line: numbers[0], Column: numbers[1]}
}
