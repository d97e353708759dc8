package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/report"
)

// Programs that hang are ended after these times.
const (
	roleLimit  = 5 * time.Minute
	holdLimit  = 2 * time.Minute
	closeLimit = 10 * time.Second
)

// play runs a program in a role to its end and decodes what it prints.
func (b *bench) play(ctx context.Context, p *program, into any, args ...string) error {
	out, _, err := b.output(ctx, p, nil, args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("%s %s printed %q: %w", p.name, args[0], out, err)
	}
	return nil
}

// output runs a program in a role to its end, with env besides what all have in
// their environment.
func (b *bench) output(ctx context.Context, p *program, env []string, args ...string) (stdout []byte, stderr string, err error) {
	ctx, cancel := context.WithTimeout(ctx, roleLimit)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := b.prepare(p.command(ctx, args...))
	cmd.Env = slices.Concat(cmd.Env, env)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	// A worker that outlives its parent may hold the pipes.
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return nil, "", fmt.Errorf("%s %s: %w: %s", p.name, strings.Join(args, " "), err, lastLine(errOut.String()))
	}
	return out.Bytes(), errOut.String(), nil
}

// prepare puts what all programs of this benchmark share into the environment.
func (b *bench) prepare(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = b.env
	return cmd
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// drive runs a driver for a section, and keeps its notes in m.
func (b *bench) drive(ctx context.Context, p *program, m *report.Measurement, section string, args ...string) (harness.Metrics, error) {
	var env []string
	if b.profiles != "" {
		env = []string{harness.ProfileVar + "=" + filepath.Join(b.profiles, section+"-"+p.name)}
	}
	out, stderr, err := b.output(ctx, p, env, append([]string{"driver", section}, args...)...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(stderr) {
		if metric, why, ok := strings.Cut(strings.TrimPrefix(line, "note "), ": "); ok && strings.HasPrefix(line, "note ") {
			m.Note(metric, strings.TrimSpace(why))
		}
	}
	var metrics harness.Metrics
	return metrics, json.Unmarshal(out, &metrics)
}

// holder is a program that holds workers.
type holder struct {
	harness.Holding
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr bytes.Buffer
}

// hold starts a program that holds n workers and returns when they are there.
func (b *bench) hold(ctx context.Context, p *program, n int, more ...string) (*holder, error) {
	h := new(holder)
	h.cmd = b.prepare(p.command(ctx, append([]string{"hold", strconv.Itoa(n)}, more...)...))
	h.cmd.Stderr = &h.stderr
	h.cmd.WaitDelay = time.Second
	var err error
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	if err := h.ready(stdout); err != nil {
		h.close()
		return nil, fmt.Errorf("%s hold %d: %w: %s", p.name, n, err, lastLine(h.stderr.String()))
	}
	return h, nil
}

// ready reads what the holder says when its workers are there.
func (h *holder) ready(stdout io.Reader) error {
	defer time.AfterFunc(holdLimit, h.kill).Stop()
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		return err
	}
	if err := json.Unmarshal(line, &h.Holding); err != nil {
		return err
	}
	if len(h.Workers) == 0 {
		return errors.New("it has no workers")
	}
	return nil
}

// kill ends the holder at once, without its workers.
func (h *holder) kill() { _ = h.cmd.Process.Kill() }

// close asks the holder to end its workers and itself, and insists on the
// latter.
func (h *holder) close() {
	_ = h.stdin.Close()
	defer time.AfterFunc(closeLimit, h.kill).Stop()
	_ = h.cmd.Wait() // what it leaves behind is swept
}
