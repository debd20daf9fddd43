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

// A tiny run of each kind comes to its end, and every library has its rows.
func TestBench(t *testing.T) {
	var out strings.Builder
	b := bench{rounds: 1, traffic: 100_000, out: &out}
	b.encoders("with takeover", true)
	for _, row := range []struct {
		work     string
		takeover bool
	}{{"echo", true}, {"push", false}} {
		if err := b.servers("", row.work, row.takeover); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int{"ours": 2, "gws": 2, "coder": 2, "gorilla": 1, "klauspost, level 1": 1} {
		if n := strings.Count(out.String(), "\n| "+name+" |"); n != want {
			t.Errorf("%d rows for %s, want %d:\n%s", n, name, want, out.String())
		}
	}
	if n, err := heldBy("ours", true, 5); err != nil || n < 1000 {
		t.Errorf("a connection with takeover holds %d bytes, %v", n, err)
	}
}
