package integration_test

import (
	"encoding/json"
	"go/ast"
	"maps"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/detached-workers/unref"

// layer says what the packages below one folder may import beside the standard library and themselves.
type layer struct {
	folder   string
	internal []string // folders of this module
	external []string // modules
}

const (
	yamux     = "github.com/hashicorp/yamux"
	cbor      = "github.com/fxamacker/cbor/v2"
	logrus    = "github.com/sirupsen/logrus"
	sys       = "golang.org/x/sys"
	goleak    = "go.uber.org/goleak"
	testsuite = "github.com/rogpeppe/go-internal"
)

// layers are in order: the first that holds a package counts.
var layers = []layer{
	{"internal/failpoint", nil, nil},
	{"transport", []string{"internal/failpoint"}, []string{yamux, cbor, sys}},
	{"lifecycle", []string{"internal/failpoint"}, []string{sys}},
	{"server", []string{"transport", "lifecycle", "internal/failpoint"}, []string{logrus}},
	{"client", []string{"transport", "lifecycle", "internal/failpoint"}, []string{logrus}},
	// The engine of the demo is a library like any other, which knows nothing of workers but its contract.
	{"cmd/demo-worker/typecheck", []string{"cmd/demo-worker/api"}, nil},
	{"cmd/demo-worker/api", []string{"transport"}, nil},
	{"cmd", []string{"transport", "lifecycle", "server", "client", "cmd"}, []string{logrus, sys}},
	{"integration", []string{"transport", "lifecycle", "server", "client", "cmd", "internal/failpoint"}, []string{logrus, sys}},
}

// testOnly are modules that only tests may import.
var testOnly = []string{goleak, testsuite}

// counterparts are what the tests of a layer may import besides: each side of a call needs the other one.
var counterparts = map[string][]string{"server": {"client"}, "client": {"server"}}

// Every file is looked at, whatever system it is for.
func TestSourceImportsPointOneWay(t *testing.T) {
	for _, file := range sources(t) {
		if strings.HasSuffix(file.name, "_test.go") {
			continue
		}
		layer, ok := layerOf(path.Dir(file.name))
		if !ok {
			t.Errorf("%s is in no layer: add its folder to the table, and say what it may import", file.name)
			continue
		}
		for _, imported := range imports(t, file) {
			if !layer.allows(imported) {
				t.Errorf("%s imports %s, which %s must not", file.name, imported, layer.folder)
			}
		}
	}
}

func TestSourceTestsOfALayerStayInIt(t *testing.T) {
	for _, file := range sources(t) {
		layer, ok := layerOf(path.Dir(file.name))
		if !ok || !strings.HasSuffix(file.name, "_test.go") {
			continue
		}
		layer.internal = append(slices.Clip(layer.internal), counterparts[layer.folder]...)
		layer.external = append(slices.Clip(layer.external), testOnly...)
		for _, imported := range imports(t, file) {
			if !layer.allows(imported) {
				t.Errorf("%s imports %s, which tests of %s must not", file.name, imported, layer.folder)
			}
		}
	}
}

func TestSourceOfIntegrationIsTestsAndPrograms(t *testing.T) {
	for _, file := range sources(t) {
		if path.Dir(file.name) == "integration" && !strings.HasSuffix(file.name, "_test.go") {
			t.Errorf("%s is library code", file.name)
		}
	}
}

// An embedder's go.sum stays small.
func TestSourceNeedsFewModules(t *testing.T) {
	allowed := append([]string{yamux, cbor, logrus, sys}, testOnly...)
	out, err := exec.Command("go", "mod", "edit", "-json", "../go.mod").Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	for _, require := range mod.Require {
		if !require.Indirect && !slices.Contains(allowed, require.Path) {
			t.Errorf("go.mod requires %s: put what needs it into a module of its own, or a note into docs/design", require.Path)
		}
	}
}

func layerOf(folder string) (layer, bool) {
	i := slices.IndexFunc(layers, func(l layer) bool { return below(folder, l.folder) })
	if i < 0 {
		return layer{}, false
	}
	return layers[i], true
}

func (l layer) allows(imported string) bool {
	if folder, ok := strings.CutPrefix(imported, module+"/"); ok {
		return below(folder, l.folder) || slices.ContainsFunc(l.internal, func(f string) bool { return below(folder, f) })
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return true // the standard library
	}
	return slices.ContainsFunc(l.external, func(m string) bool { return below(imported, m) })
}

// below is whether a path is root or lies under it.
func below(name, root string) bool {
	return name == root || strings.HasPrefix(name, root+"/")
}

func imports(t *testing.T, file source) []string {
	t.Helper()
	found := make(map[string]bool)
	for _, spec := range file.ast.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		found[name] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// importName returns the name under which the file imports a package, "" if it does not.
func importName(file *ast.File, imported string) string {
	for _, spec := range file.Imports {
		if spec.Path.Value != strconv.Quote(imported) {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(imported)
	}
	return ""
}
