package integration_test

import (
	"go/ast"
	"go/token"
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

// sleeps returns what in a function only lets time pass: calls of time.Sleep but for the pause of a loop that looks again,
// and receives from time.After but for those in a select that waits for something else as well.
func sleeps(decl *ast.FuncDecl) []ast.Node {
	excused := make(map[ast.Node]bool)
	for loop := range loops(decl) {
		for _, call := range calls(loop) {
			excused[call.node] = call.name == "time.Sleep"
		}
	}
	var found []ast.Node
	for node := range ast.Preorder(decl.Body) {
		switch node := node.(type) {
		case *ast.SelectStmt:
			for _, clause := range node.Body.List {
				if wait := awaited(clause.(*ast.CommClause).Comm); wait != nil {
					excused[wait] = len(node.Body.List) > 1
				}
			}
		case *ast.UnaryExpr:
			if c, ok := node.X.(*ast.CallExpr); ok && node.Op == token.ARROW && calledName(c.Fun) == "time.After" && !excused[node] {
				found = append(found, node)
			}
		case *ast.CallExpr:
			if calledName(node.Fun) == "time.Sleep" && !excused[node] {
				found = append(found, node)
			}
		}
	}
	return found
}

// awaited returns the receive of a select's case that keeps nothing of it, nil if that is another one.
func awaited(comm ast.Stmt) ast.Node {
	if stmt, ok := comm.(*ast.ExprStmt); ok {
		return stmt.X
	}
	return nil
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
