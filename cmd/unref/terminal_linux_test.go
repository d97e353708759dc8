package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/detached-workers/unref/lifecycle"
)

// openTerminal returns both ends of a new terminal.
func openTerminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("the machine has no pseudo-terminals: ", err)
	}
	t.Cleanup(func() { ours.Close() })
	fd := int(ours.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 200}); err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

// screen collects what is written to a terminal.
type screen struct {
	mu   sync.Mutex // protects text
	text bytes.Buffer
}

// read reads until nobody has the terminal open any more.
func (s *screen) read(terminal *os.File) {
	buf := make([]byte, 4096)
	for {
		n, err := terminal.Read(buf)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.text.Write(buf[:n])
		s.mu.Unlock()
	}
}

func (s *screen) shows(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

// onTerminal starts the tool on a terminal that never answers what it is asked, and collects what is shown there. wait waits
// for the tool's end.
func onTerminal(t *testing.T, args ...string) (terminal *os.File, s *screen, cmd *exec.Cmd, wait func() error) {
	t.Helper()
	ours, theirs := openTerminal(t)
	cmd = toolCommand(t, args...)
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	s = new(screen)
	var wg sync.WaitGroup
	wg.Go(func() { s.read(ours) })
	return ours, s, cmd, func() error {
		defer wg.Wait()
		return cmd.Wait()
	}
}

// press types a key.
func press(t *testing.T, terminal *os.File, key string) {
	t.Helper()
	if _, err := terminal.WriteString(key); err != nil {
		t.Fatal(err)
	}
}

func TestTopDrawsOnATerminalUntilAKeyOrAnInterrupt(t *testing.T) {
	newRuntimeDir(t)
	attach(t, "web", lifecycle.Self(tester))
	for _, how := range []string{"key", "interrupt"} {
		t.Run(how, func(t *testing.T) {
			terminal, s, cmd, wait := onTerminal(t, "top", "--interval", "20ms")
			await(t, "the worker on the screen", func() bool { return s.shows("web") && s.shows("COURSE") })
			press(t, terminal, "p")
			await(t, "another order", func() bool { return s.shows("▼") })
			if how == "key" {
				press(t, terminal, "q")
			} else if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if err := wait(); err != nil {
				t.Errorf("%v, after\n%q", err, s.text.String())
			}
			if !s.shows("\x1b[?1049l") {
				t.Error("the screen was not given back")
			}
		})
	}
}

// A terminal that is asked something may not answer, and loses what was typed before its answer.
func TestOnlyTopSpeaksToTheTerminal(t *testing.T) {
	newRuntimeDir(t)
	attach(t, "web", lifecycle.Self(tester))
	for want, args := range map[string][]string{
		"NAME": {"ps"}, "unref version": {"--version"}, "Unref shows": {"help"}, "runtime directory": {"doctor"},
		"unref.status": {"methods", "web"}, "which worker?": {"stop"},
	} {
		_, s, _, wait := onTerminal(t, args...)
		err := wait() // of which the text says more
		if !s.shows(want) || s.shows("\x1b") {
			t.Errorf("%q: %v, got %q", args, err, s.text.String())
		}
	}
}
