package peers

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// An echoProgram is examples/echo, running.
type echoProgram struct {
	*process
	url string // of its page
}

// buildEcho builds examples/echo as its user would.
func buildEcho(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "echo")
	build := exec.Command("go", "build", "-o", path, "./examples/echo")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	return path
}

// startEcho runs examples/echo on a free port and waits for the URL that it
// prints.
func startEcho(t *testing.T, path string, args ...string) *echoProgram {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p := start(t, "go build ./examples/echo", path, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	e := &echoProgram{process: p}
	err := p.within(ctx, func() (err error) {
		for line := ""; e.url == "" && err == nil; e.url = pageURL.FindString(line) {
			line, err = p.stdout.ReadString('\n')
		}
		return err
	})
	if err != nil {
		t.Fatalf("examples/echo prints no URL: %v\n%s", err, p.stderr)
	}
	go io.Copy(io.Discard, p.stdout)
	return e
}

var pageURL = regexp.MustCompile(`https?://\S+`)

// echoPage uses the page as a person would, who then stops the server.
func echoPage(t *testing.T, b *browser, echo *echoProgram) {
	ctx := chromiumContext(t)
	p := b.open(ctx, t, echo.url)
	p.write(ctx, t, "#subprotocol", "echo")
	p.click(ctx, t, "#connect", 1)
	p.see(ctx, t, `$("#state").textContent === "OPEN" && $("#protocol").textContent === "echo"`)

	p.write(ctx, t, "#text", "Grüße, 世界 😀")
	p.click(ctx, t, "#send", 1)
	p.see(ctx, t, `$("#log [data-dir=in][data-type=text][data-size='20'][data-rtt]")?.textContent.includes("Grüße, 世界 😀")`)
	p.choose(ctx, t, "#file", file(t, 1<<20))
	p.see(ctx, t, `$("#log [data-dir=in][data-type=binary][data-size='1048576']") && $("#buffered").textContent === "0 B"`)

	p.write(ctx, t, "#closeCode", "4001")
	p.write(ctx, t, "#closeReason", "genug 😀")
	p.click(ctx, t, "#disconnect", 1)
	p.see(ctx, t, `$("#log").textContent.includes("closed: code 4001, clean") && $("#state").textContent === "CLOSED"`)

	p.click(ctx, t, "#connect", 1)
	p.see(ctx, t, `$("#state").textContent === "OPEN"`)
	if err := echo.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.see(ctx, t, `/closed: code 1001 .*, clean/.test($("#log").textContent)`)
	select {
	case <-echo.done:
	case <-ctx.Done():
		t.Fatal("the server does not end after SIGINT")
	}
	if code := echo.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the server ended with %d after SIGINT, want 0", code)
	}
}

// file makes a file of size bytes.
func file(t *testing.T, size int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, payload("binary", "", size), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
