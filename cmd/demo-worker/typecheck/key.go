package typecheck

import (
	"context"
	"crypto/sha256"
	"go/types"
	"hash"
	"os"
	"strconv"
)

// fingerprint looks at all files that can change, and gives each node its keys.
func (r *run) fingerprint(ctx context.Context) error {
	index := make(map[string]int)
	var paths []string
	for _, n := range r.nodes {
		if n.pkg.Fixed {
			continue
		}
		for _, name := range n.pkg.Files {
			path := inDir(n.pkg.Dir, name)
			if _, ok := index[path]; !ok {
				index[path] = len(paths)
				paths = append(paths, path)
			}
		}
	}
	sources := make([]source, len(paths))
	err := each(ctx, len(paths), func(i int) error {
		sources[i] = r.source(paths[i])
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range r.nodes {
		n.setKeys(r, func(path string) source { return sources[index[path]] })
	}
	return nil
}

// source returns the sums of a file. A file that can't be read has the sums of the error's text.
func (r *run) source(path string) source {
	s, err := r.checker.sources.get(path, path, func(known *source) (source, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return source{}, err
		}
		if known != nil && known.content == sha256.Sum256(text) {
			return *known, nil
		}
		p := parseText(r.fset, path, text)
		r.keep(path, p)
		return source{content: p.content, decls: declSum(r.fset, p, text), size: p.size}, nil
	})
	if err != nil {
		failed := sha256.Sum256([]byte(withoutPath(err).Error()))
		return source{content: failed, decls: failed}
	}
	return s
}

// keep keeps a file for the check, if there is room.
func (r *run) keep(path string, p parsed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept+p.size <= maxKept {
		r.kept += p.size
		r.files[path] = p
	}
}

// setKeys computes the keys of a node from its files and its dependencies' keys.
func (n *node) setKeys(r *run, of func(path string) source) {
	p := n.pkg
	h := sha256.New()
	for _, part := range []string{r.config.Toolchain, r.config.GOARCH, r.config.Dir, p.Path, p.Dir, p.GoVersion, n.missing} {
		writeField(h, part)
	}
	writeField(h, strconv.FormatBool(p.Cgo))
	for _, d := range p.Errors {
		writeField(h, d.String())
	}
	for _, dep := range n.deps {
		writeField(h, dep.pkg.Path)
		writeField(h, dep.declKey[:])
	}
	n.declKey = n.withFiles(h, func(path string) sum { return of(path).decls })
	writeField(h, "full")
	n.fullKey = n.withFiles(h, func(path string) sum { return of(path).content })
}

// withFiles adds the package's files to what a key is made from. Those that can't change are known by name.
func (n *node) withFiles(h hash.Hash, of func(path string) sum) sum {
	for _, name := range n.pkg.Files {
		writeField(h, name)
		if !n.pkg.Fixed {
			state := of(inDir(n.pkg.Dir, name))
			writeField(h, state[:])
		}
	}
	return sum(h.Sum(nil))
}

// importer finds the packages that a node imports.
type importer struct{ n *node }

func (i importer) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	id := path
	if mapped, ok := i.n.pkg.ImportMap[path]; ok {
		id = mapped
	}
	for _, dep := range i.n.deps {
		if dep.pkg.ID == id && dep.export != nil && dep.export.types != nil {
			return dep.export.types, nil
		}
	}
	return nil, &RequestError{"it was not imported when the packages were listed"}
}
