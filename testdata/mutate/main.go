// Mutate shows that every check of package websocket is guarded by a test. It
// takes away one check after the other, in a copy of the package, and runs the
// tests: those checks without which they still pass are listed.
//
//	go run ./testdata/mutate [-only regexp] [-run regexp] [-j workers] [-v] [-list]
//
// A check is the condition of an if, a case of a switch without a tag, and
// each side of an || in one of them or in a return: it becomes false; each side
// of an && becomes true. A case of a switch with a tag is deleted. What does
// not compile then needs no test.
//
// The exit status is 1 if a check has no test, 2 if mutate itself failed.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// files are those whose checks are taken away, each with the functions that
// count.
var files = []struct{ name, functions string }{
	{"opcode.go", `.`},
	{"close.go", `.`},
	{"frame.go", `.`},
	{"utf8.go", `.`},
	{"message.go", `.`},
	{"compress.go", `.`},
	{"inflate.go", `.`},
	{"deflation.go", `.`},
	{"grammar.go", `.`},
	{"origin.go", `.`},
	{"handshake.go", `^(check|parse|is|accept)`},
	{"dial.go", `^(check|parse|map)`},
}

// harmless are checks that make something faster, or belt and braces, with
// the reason why their loss changes nothing.
var harmless = map[string]string{
	"header: err != nil in n == 0 || err != nil": "ParseHeader returns no size with an error",
	"yield: a.stopped":                           "stop takes what is yielded for the end that follows",
	"negotiate: err != nil":                      "an internal error",
}

// A mutation replaces the bytes of a file from start to end.
type mutation struct {
	file       string
	line       int
	function   string
	check      string
	start, end int
	with       string
}

func (m mutation) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", m.file, m.line, m.function, m.check)
}

// key names a mutation in harmless.
func (m mutation) key() string { return m.function + ": " + m.check }

func main() {
	run := flag.String("run", "", "run only the tests that match this `regexp`")
	only := flag.String("only", "", "take away only the checks whose line in the list matches this `regexp`")
	workers := flag.Int("j", runtime.NumCPU(), "`workers` that run tests at the same time")
	verbose := flag.Bool("v", false, "say of each check how it went")
	list := flag.Bool("list", false, "list the checks and do nothing")
	flag.Parse()

	all, err := mutations(*only)
	switch {
	case err != nil:
		die(err)
	case len(all) == 0:
		die(errors.New("no checks found"))
	case *list:
		for _, m := range all {
			fmt.Println(m)
		}
		return
	}
	survivors, err := try(all, *run, *workers, *verbose)
	if err != nil {
		die(err)
	}
	fmt.Printf("%d checks, %d without a test\n", len(all), len(survivors))
	if len(survivors) > 0 {
		os.Exit(1)
	}
}

func die(err error) {
	fmt.Fprintln(os.Stderr, "mutate:", err)
	os.Exit(2)
}

// mutations returns all of them, from the package in the current directory.
func mutations(only string) ([]mutation, error) {
	match, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	var all []mutation
	for _, f := range files {
		functions := regexp.MustCompile(f.functions)
		source, err := os.ReadFile(f.name)
		if err != nil {
			return nil, err
		}
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, f.name, source, 0)
		if err != nil {
			return nil, err
		}
		for _, d := range tree.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil || !functions.MatchString(fn.Name.Name) {
				continue
			}
			v := visitor{set, source, mutation{file: f.name, function: fn.Name.Name}, nil}
			ast.Inspect(fn.Body, v.visit)
			all = append(all, v.found...)
		}
	}
	return slices.DeleteFunc(all, func(m mutation) bool {
		return !match.MatchString(m.String()) || harmless[m.key()] != ""
	}), nil
}

// A visitor collects the mutations of a function.
type visitor struct {
	set    *token.FileSet
	source []byte
	where  mutation // without a check
	found  []mutation
}

func (v *visitor) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IfStmt:
		v.condition(n.Cond)
	case *ast.ReturnStmt:
		for _, e := range n.Results {
			v.sides(e)
		}
	case *ast.SwitchStmt:
		for _, s := range n.Body.List {
			c := s.(*ast.CaseClause)
			if n.Tag != nil && c.List != nil {
				v.add(c, strings.TrimSpace(firstLine(v.text(c))), "")
			}
			for _, e := range c.List {
				if n.Tag == nil {
					v.condition(e)
				}
			}
		}
	}
	return true
}

// condition makes e false, and takes away each of its sides.
func (v *visitor) condition(e ast.Expr) {
	v.add(e, v.text(e), "false && ("+v.text(e)+")")
	v.sides(e)
}

// sides makes the sides of an || false, and those of an && true.
func (v *visitor) sides(e ast.Expr) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		v.sides(e.X)
	case *ast.BinaryExpr:
		without := map[token.Token]string{token.LOR: "(false && (%s))", token.LAND: "(true || (%s))"}[e.Op]
		if without == "" {
			return
		}
		for _, side := range []ast.Expr{e.X, e.Y} {
			if inner, ok := side.(*ast.BinaryExpr); !ok || inner.Op != e.Op {
				v.add(side, v.text(side)+" in "+v.text(e), fmt.Sprintf(without, v.text(side)))
			}
			v.sides(side)
		}
	}
}

func (v *visitor) add(n ast.Node, check, with string) {
	m := v.where
	m.line, m.check, m.with = v.set.Position(n.Pos()).Line, check, with
	m.start, m.end = v.set.Position(n.Pos()).Offset, v.set.Position(n.End()).Offset
	v.found = append(v.found, m)
}

func (v *visitor) text(n ast.Node) string {
	return string(v.source[v.set.Position(n.Pos()).Offset:v.set.Position(n.End()).Offset])
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// try runs the tests without each of the checks and returns those that nobody
// misses.
func try(all []mutation, run string, workers int, verbose bool) ([]mutation, error) {
	temp, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)

	queue := make(chan mutation)
	var mu sync.Mutex
	var survivors []mutation
	var failure error
	var group sync.WaitGroup
	for i := range workers {
		dir := filepath.Join(temp, fmt.Sprint(i))
		if err := copyPackage(dir); err != nil {
			return nil, err
		}
		if i == 0 { // before anything is taken away
			if out, err := test(dir, run); err != nil {
				return nil, fmt.Errorf("the tests fail already: %w\n%s", err, out)
			}
		}
		group.Go(func() {
			for m := range queue {
				noticed, err := try1(dir, m, run)
				mu.Lock()
				switch {
				case err != nil:
					failure = err
				case !noticed:
					fmt.Println("no test:", m)
					survivors = append(survivors, m)
				case verbose:
					fmt.Println("tested: ", m)
				}
				mu.Unlock()
			}
		})
	}
	for _, m := range all {
		queue <- m
	}
	close(queue)
	group.Wait()
	return survivors, failure
}

// try1 reports whether the tests in dir notice that the check is missing.
func try1(dir string, m mutation, run string) (noticed bool, err error) {
	name := filepath.Join(dir, m.file)
	whole, err := os.ReadFile(name)
	if err != nil {
		return false, err
	}
	defer os.WriteFile(name, whole, 0o644)
	without := slices.Concat(whole[:m.start], []byte(m.with), whole[m.end:])
	if err := os.WriteFile(name, without, 0o644); err != nil {
		return false, err
	}
	_, err = test(dir, run)
	return err != nil, nil
}

// test runs the tests in dir. An endless loop is a failure, too.
func test(dir, run string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-failfast", "-vet=off", "-timeout=2m", "-run="+run, ".")
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.Bytes(), err
}

// copyPackage copies the package in the current directory to dir, with its
// test data but not with the other programs in there.
func copyPackage(dir string) error {
	return filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == ".git" || path == "examples" || path == "testdata/peers" || path == "testdata/mutate"):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(dir, path), 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, path), b, 0o644)
	})
}
