package integration_test

import (
	"go/ast"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// documents returns all Markdown files by their names.
func documents(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := walk(".md", func(name string) error {
		text, err := os.ReadFile(filepath.Join(root, name))
		found[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func document(t *testing.T, name string) string {
	t.Helper()
	text, ok := documents(t)[name]
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return text
}

var fence = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

// blocks returns the fenced blocks of a document in one of these languages.
func blocks(text string, languages ...string) []string {
	var found []string
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		if slices.Contains(languages, m[1]) {
			found = append(found, m[2])
		}
	}
	return found
}

// Every Go snippet is a run of whole lines of some file that is compiled; only the indentation may differ.
func TestDocsSnippetsAreCompiled(t *testing.T) {
	var compiled []string
	for _, file := range sources(t) {
		compiled = append(compiled, "\n"+dedented(string(file.text)))
	}
	for name, text := range documents(t) {
		for _, snippet := range blocks(text, "go") {
			want := "\n" + dedented(snippet)
			if !slices.ContainsFunc(compiled, func(file string) bool { return strings.Contains(file, want) }) {
				t.Errorf("%s has a snippet that is no part of a Go file:\n%s", name, snippet)
			}
		}
	}
}

// dedented removes the indentation of every line.
func dedented(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n") + "\n"
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestDocsLinksResolve(t *testing.T) {
	all := documents(t)
	for name, text := range all {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, ":") {
				continue // another site's
			}
			file := name
			if target != "" {
				file = path.Join(path.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			}
			if anchor != "" && !slices.Contains(anchors(all[file]), anchor) {
				t.Errorf("%s links to %s: no such heading", name, m[1])
			}
		}
	}
}

// anchors returns the names under which the headings of a document can be linked to.
func anchors(text string) []string {
	var found []string
	for line := range strings.Lines(fence.ReplaceAllString(text, "")) {
		if heading := strings.TrimLeft(line, "#"); heading != line {
			found = append(found, anchor(heading))
		}
	}
	return found
}

func anchor(heading string) string {
	keep := func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 127:
			return r
		}
		return -1
	}
	return strings.Map(keep, strings.ToLower(strings.TrimSpace(heading)))
}

// What a reader is told to type exists: targets of make, packages of the go command, sub-commands and flags.
func TestDocsCommandsExist(t *testing.T) {
	for name, text := range documents(t) {
		for _, block := range blocks(text, "sh", "console") {
			for line := range strings.Lines(block) {
				for _, command := range typed(line) {
					checkCommand(t, name, command)
				}
			}
		}
	}
}

// typed returns the commands of one line of a terminal session; lines without a prompt are output.
func typed(line string) [][]string {
	line, ok := strings.CutPrefix(strings.TrimSpace(line), "$ ")
	if !ok {
		return nil
	}
	line, _, _ = strings.Cut(line, "  #")
	var commands [][]string
	for command := range strings.SplitSeq(line, "&&") {
		words := slices.DeleteFunc(strings.Fields(command), func(word string) bool { return assignment.MatchString(word) })
		if len(words) > 0 {
			commands = append(commands, words)
		}
	}
	return commands
}

var assignment = regexp.MustCompile(`^[A-Z][A-Z0-9_]*=`)

func checkCommand(t *testing.T, document string, words []string) {
	t.Helper()
	switch {
	case words[0] == "make":
		for _, target := range words[1:] {
			if !strings.Contains(makefile(t), " "+target) {
				t.Errorf("%s: the Makefile has no target %s", document, target)
			}
		}
	case words[0] == "go":
		for i, word := range words {
			if strings.HasPrefix(word, "./") && !strings.Contains(word, "...") {
				checkProgram(t, document, path.Clean(word), words[i+1:])
				return
			}
		}
	case strings.HasPrefix(words[0], "demo-"):
		checkProgram(t, document, "cmd/"+words[0], words[1:])
	case strings.Contains(words[0], "/"):
		if _, err := os.Stat(filepath.Join(root, words[0])); err != nil {
			t.Errorf("%s: %v", document, err)
		}
	}
}

func makefile(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\n", " ")
}

// checkProgram checks that a program knows what it is called with: its first argument and its flags are texts in its
// source.
func checkProgram(t *testing.T, document, folder string, arguments []string) {
	t.Helper()
	known := make(map[string]bool)
	found := false
	for _, file := range sources(t) {
		if path.Dir(file.name) == folder && !file.isTest() {
			found = true
			maps.Copy(known, texts(file))
		}
	}
	if !found {
		t.Errorf("%s: there is no program %s", document, folder)
		return
	}
	for i, argument := range arguments {
		flag := strings.TrimLeft(argument, "-")
		flag, _, _ = strings.Cut(flag, "=")
		isFlag := strings.HasPrefix(argument, "-") && flag != "h"
		isCommand := i == 0 && !strings.ContainsAny(argument, "-./")
		if (isFlag || isCommand) && !known[flag] {
			t.Errorf("%s: %s does not know %q", document, folder, argument)
		}
	}
}

// texts returns the string literals of a file.
func texts(file source) map[string]bool {
	found := make(map[string]bool)
	for node := range ast.Preorder(file.ast) {
		if literal, ok := node.(*ast.BasicLit); ok {
			if text, err := strconv.Unquote(literal.Value); err == nil {
				found[text] = true
			}
		}
	}
	return found
}

var testName = regexp.MustCompile(`\bTest[A-Z]\w+`)

// The table of failures is worth as much as the tests that it names.
func TestDocsFailuresNameTestsThatExist(t *testing.T) {
	exist := make(map[string]bool)
	for _, file := range sources(t) {
		for _, decl := range file.ast.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				exist[f.Name.Name] = true
			}
		}
	}
	rows := 0
	for line := range strings.Lines(document(t, "docs/failures.md")) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what fails") {
			continue
		}
		rows++
		names := testName.FindAllString(line, -1)
		if len(names) == 0 {
			t.Errorf("no test is named in: %s", line)
		}
		for _, name := range names {
			if !exist[name] {
				t.Errorf("docs/failures.md names %s, which does not exist", name)
			}
		}
	}
	if rows < 50 {
		t.Errorf("only %d rows were found", rows)
	}
}
