package main

import (
	"os"
	"strings"
	"testing"
)

// The program runs itself as its servers: here that is the test's binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "-server") {
		main()
		return
	}
	os.Exit(m.Run())
}

// A tiny run comes to its end, and every library has its rows in every table.
func TestBench(t *testing.T) {
	var out strings.Builder
	b := bench{rounds: 1, traffic: 100_000, conns: 5, out: &out}
	if err := b.run(); err != nil {
		t.Fatal(err)
	}
	if rows := strings.Count(out.String(), "\n|"); rows < 40 {
		t.Errorf("%d rows, want more:\n%s", rows, out.String())
	}
	for _, name := range libraries {
		if strings.Count(out.String(), "| "+name+" |") < 3 {
			t.Errorf("no figures for %s:\n%s", name, out.String())
		}
	}
}
