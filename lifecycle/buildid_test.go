package lifecycle

import (
	"debug/buildinfo"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheBuildIDIsThatOfTheGoCommand(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := buildinfo.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	got, err := BuildID(path)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "tool", "buildid", path).Output()
	if err != nil {
		t.Skipf("the go command does not run here: %v", err)
	}
	// The go command gives test binaries that it runs no id of their own; then the content counts.
	if want := strings.TrimSpace(string(out)); got != "go:"+want && !(want == "" && strings.HasPrefix(got, "sha256:")) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTheBuildIDOfOtherFilesIsTheirContent(t *testing.T) {
	dir := t.TempDir()
	id := strings.Repeat("a", 20) + "/" + strings.Repeat("b", 20)
	note := binary.LittleEndian.AppendUint32([]byte("\x7fELF....\x04\x00\x00\x00"), uint32(len(id)))
	note = append(append(note, elfNote...), id...)
	for name, test := range map[string]struct {
		content string
		want    string
	}{
		"empty":       {"", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		"script":      {"#!/bin/sh\n", ""},
		"large":       {strings.Repeat("x", 3*buildIDSpan), ""},
		"elf":         {string(note), "go:" + id},
		"elf far":     {"\x7fELF" + strings.Repeat("x", buildIDNear-10) + string(note[4:]), "go:" + id},
		"elf cut":     {string(note[:len(note)-1]), ""},
		"mach-o":      {"\xcf\xfa..\xff Go build ID: \"" + id + "\"\n \xff...", "go:" + id},
		"constant id": {"\xcf\xfa..\xff Go build ID: \"redacted\"\n \xff...", ""},
	} {
		path := filepath.Join(dir, name)
		os.WriteFile(path, []byte(test.content), 0o600)
		got, err := BuildID(path)
		if err != nil || test.want != "" && got != test.want || test.want == "" && !strings.HasPrefix(got, "sha256:") {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
	}
	if _, err := BuildID(dir + "/none"); err == nil || !strings.HasPrefix(err.Error(), "build id: ") {
		t.Errorf("got %v", err)
	}
	if _, err := BuildID(dir); err == nil {
		t.Error("a directory has a build id")
	}
}
