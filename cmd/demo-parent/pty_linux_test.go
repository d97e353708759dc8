package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a new terminal with this many columns.
func openTerminal(t *testing.T, columns uint16) (ours, theirs *os.File) {
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
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

// onPty runs demo-parent with a terminal as standard error and returns what it wrote there.
func onPty(t *testing.T, columns uint16, env string, args ...string) string {
	t.Helper()
	ours, theirs := openTerminal(t, columns)
	cmd := exec.Command("demo-parent", args...)
	cmd.Env = append(os.Environ(), env)
	cmd.Stderr = theirs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	text, _ := io.ReadAll(ours) // ends with an error when nobody has the terminal open any more
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// LESSONS 5
func TestOnATerminalThereIsABarWhileItWorks(t *testing.T) {
	for _, columns := range []uint16{0, 50, 120} {
		text := onPty(t, columns, "TERM=xterm", "check", "-fresh", "-C", chain(t), "./...")
		if !strings.Contains(text, "listing packages") {
			t.Errorf("with %d columns nothing was drawn: %q", columns, text)
		}
		lines := screen(text)
		if len(lines) != 3 || !strings.HasPrefix(lines[0], "cold: 4 packages") || !strings.HasPrefix(lines[1], "workers: ") {
			t.Errorf("with %d columns the terminal shows %q in the end, want the summary only", columns, lines)
		}
	}
}

func TestOnADumbTerminalThereIsNoBar(t *testing.T) {
	text := onPty(t, 80, "TERM=dumb", "check", "-fresh", "-C", chain(t), "./...")
	if !strings.HasPrefix(text, "cold: 4 packages") || strings.Contains(text, "\r") {
		t.Errorf("got %q, want the summary only", text)
	}
}
