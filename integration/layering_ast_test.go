package integration_test

import (
	"go/ast"
	"iter"
	"path"
)

// functions returns the functions and methods of a file that have a body.
func functions(file source) []*ast.FuncDecl {
	var found []*ast.FuncDecl
	for _, decl := range file.ast.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Body != nil {
			found = append(found, f)
		}
	}
	return found
}

// qualified names a function as package.function or package.Type.method.
func qualified(file source, decl *ast.FuncDecl) string {
	name := path.Base(path.Dir(file.name)) + "."
	if decl.Recv != nil {
		name += receiver(decl) + "."
	}
	return name + decl.Name.Name
}

// receiver returns the name of a method's type.
func receiver(decl *ast.FuncDecl) string {
	typ := decl.Recv.List[0].Type
	for {
		switch t := typ.(type) {
		case *ast.StarExpr:
			typ = t.X
		case *ast.IndexExpr:
			typ = t.X
		case *ast.IndexListExpr:
			typ = t.X
		case *ast.Ident:
			return t.Name
		default:
			return ""
		}
	}
}

// call is a function call by the name that the source uses: f, pkg.f, x.method.
type call struct {
	name string
	node *ast.CallExpr
}

// loops yields the loops of a function that are no loops over elements.
func loops(decl *ast.FuncDecl) iter.Seq[*ast.ForStmt] {
	return func(yield func(*ast.ForStmt) bool) {
		for node := range ast.Preorder(decl.Body) {
			if loop, ok := node.(*ast.ForStmt); ok && !yield(loop) {
				return
			}
		}
	}
}

// calls returns the calls in a part of the source.
func calls(part ast.Node) []call {
	var found []call
	ast.Inspect(part, func(node ast.Node) bool {
		if c, ok := node.(*ast.CallExpr); ok {
			found = append(found, call{calledName(c.Fun), c})
		}
		return true
	})
	return found
}

// calledName returns the source's name of a function or type, as far as it is made of names.
func calledName(expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if left := calledName(e.X); left != "" {
			return left + "." + e.Sel.Name
		}
		return "." + e.Sel.Name
	}
	return ""
}
