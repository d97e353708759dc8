package main

import (
	"path/filepath"
	"testing"
)

func TestTheWorkerIsBuiltAgainOnlyIfItsSourceHasChanged(t *testing.T) {
	dir := newModule(t, map[string]string{"cmd/w/main.go": "package main\n", "lib/lib.go": "package lib\n", "other/go.mod": "module other\n"})
	program := filepath.Join(t.TempDir(), "w")
	current := func() sourceState { return newState(filepath.Join(dir, "cmd", "w")) }
	for _, test := range []struct {
		name  string
		path  string
		built bool
	}{
		{"an edit of the program", "cmd/w/main.go", false},
		{"an edit of what it imports", "lib/lib.go", false},
		{"a new file", "lib/more.go", false},
		{"another requirement", "go.mod", false},
		{"an edit of a test", "lib/lib_test.go", true},
		{"an edit of a text", "lib/README.md", true},
		{"an edit of another module", "other/other.go", true},
	} {
		write(t, program, "the program")
		age(t, dir)
		if current().isOf(program) {
			t.Errorf("before %s the program was taken for that of this source", test.name)
		}
		if err := current().keep(program); err != nil {
			t.Fatal(err)
		}
		if !current().isOf(program) {
			t.Errorf("before %s it was not found", test.name)
		}
		write(t, filepath.Join(dir, test.path), "package other // or something else\n")
		if got := current().isOf(program); got != test.built {
			t.Errorf("after %s: got %v, want %v", test.name, got, test.built)
		}
		write(t, program+stateSuffix, "")
	}
}

func TestSourceThatIsBeingEditedIsAlwaysBuilt(t *testing.T) {
	dir := newModule(t, map[string]string{"cmd/w/main.go": "package main\n"})
	program := filepath.Join(t.TempDir(), "w")
	write(t, program, "the program")
	write(t, filepath.Join(dir, "cmd", "w", "main.go"), "package main\n\nfunc main() {}\n")
	state := newState(filepath.Join(dir, "cmd", "w"))
	if err := state.keep(program); err != nil || state.isOf(program) {
		t.Errorf("it was kept (%v)", err)
	}
}
