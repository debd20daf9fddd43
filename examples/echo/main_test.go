package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.com/websocket"
)

// start runs the server and returns the http URL that it prints. stop ends it
// and returns what run returned.
func start(t *testing.T, args ...string) (url string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), w)
		w.CloseWithError(io.EOF)
		done <- err
	}()
	url = listening(t, r)
	stopped := false
	stop = func() error {
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if !stopped {
			stop()
		}
	})
	return url, stop
}

// listening returns the URL in the server's first line.
func listening(t *testing.T, r io.Reader) string {
	t.Helper()
	line, err := bufio.NewReader(r).ReadString('\n')
	fields := strings.Fields(line)
	if err != nil || len(fields) < 3 {
		t.Fatalf("first line of output = %q, %v, want the URL", line, err)
	}
	return fields[2]
}

func TestEcho(t *testing.T) {
	url, _ := start(t)
	d := websocket.Dialer{Subprotocols: []string{"echo"}}
	c, _, err := d.Dial(t.Context(), url+"ws")
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if got := c.Subprotocol(); got != "echo" {
		t.Errorf("Subprotocol() = %q, want echo", got)
	}
	for _, m := range []websocket.Message{
		{Opcode: websocket.OpText, Data: []byte("grüß dich, 世界")},
		{Opcode: websocket.OpText, Data: []byte{}},
		{Opcode: websocket.OpBinary, Data: bytes.Repeat([]byte{0, 1, 0xFF}, 1<<20/3)},
	} {
		go c.WriteMessage(t.Context(), m.Opcode, m.Data)
		op, p, err := c.ReadMessage(t.Context())
		if err != nil || op != m.Opcode || !bytes.Equal(p, m.Data) {
			t.Errorf("echo of %v with %d bytes = %v with %d bytes, %v", m.Opcode, len(m.Data), op, len(p), err)
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("Close() = %v, want nil", err)
	}
}

// With -compress a client that offers compression has it, and others go
// without; and without -compress nobody has it.
func TestCompress(t *testing.T) {
	for _, args := range [][]string{nil, {"-compress"}} {
		url, stop := start(t, args...)
		for _, offer := range []*websocket.Compression{nil, {}} {
			d := websocket.Dialer{Options: websocket.Options{Compression: offer}}
			c, resp, err := d.Dial(t.Context(), url+"ws")
			if err != nil {
				t.Fatal(err)
			}
			agreed := resp.Header.Get("Sec-WebSocket-Extensions")
			if want := offer != nil && args != nil; strings.HasPrefix(agreed, "permessage-deflate") != want || (c.Compression() != nil) != want {
				t.Errorf("echo %q, client with %v: agreed on %q, %v, want compression = %t", args, offer, agreed, c.Compression(), want)
			}
			text := strings.Repeat("compressible ", 100)
			if err := c.WriteText(t.Context(), text); err != nil {
				t.Fatal(err)
			}
			if _, got, err := c.ReadMessage(t.Context()); err != nil || string(got) != text {
				t.Errorf("echo = %.30q, %v, want %.30q", got, err, text)
			}
			c.Close(websocket.StatusNormalClosure, "")
		}
		stop()
	}
}

func TestPage(t *testing.T) {
	url, _ := start(t)
	for file, want := range map[string]string{"": "<h1>WebSocket echo</h1>", "app.js": "new WebSocket", "style.css": ".row"} {
		resp, err := http.Get(url + file)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("GET /%s = %d, %v, want a body with %q", file, resp.StatusCode, err, want)
		}
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("GET /%s: Content-Security-Policy %q", file, csp)
		}
	}
}

func TestOrigins(t *testing.T) {
	url, _ := start(t, "-origins", "https://app.example,https://*.app.example")
	for origin, want := range map[string]int{"https://app.example": 101, "https://eu.app.example": 101, "https://evil.example": 403} {
		d := websocket.Dialer{Header: http.Header{"Origin": {origin}}}
		c, resp, err := d.Dial(t.Context(), url+"ws")
		if err == nil {
			c.CloseNow()
		}
		if resp == nil || resp.StatusCode != want {
			t.Errorf("Dial from %s = %v, %v, want status %d", origin, resp, err, want)
		}
	}
}

func TestShutdown(t *testing.T) {
	url, stop := start(t)
	var reads []chan error
	for range 3 {
		c, _, err := websocket.Dial(t.Context(), url+"ws")
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		// An echo shows that the server has taken note of the connection.
		if err := c.WriteText(t.Context(), "hello"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.ReadMessage(t.Context()); err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		reads = append(reads, read)
		go func() {
			_, _, err := c.ReadMessage(t.Context())
			read <- err
		}()
	}
	if err := stop(); err != nil {
		t.Errorf("run() = %v, want nil", err)
	}
	for _, read := range reads {
		var ce *websocket.CloseError
		if err := <-read; !errors.As(err, &ce) || ce.Code != websocket.StatusGoingAway {
			t.Errorf("ReadMessage() during shutdown = %v, want code 1001", err)
		}
	}
}

func TestRunErrors(t *testing.T) {
	if err := run(t.Context(), []string{"-addr", "256.0.0.1:0"}, io.Discard); err == nil {
		t.Error("run with a bad address = nil, want an error")
	}
	missing := filepath.Join(t.TempDir(), "missing.pem")
	if err := run(t.Context(), []string{"-addr", "127.0.0.1:0", "-cert", missing, "-key", missing}, io.Discard); err == nil {
		t.Error("run with a missing certificate = nil, want an error")
	}
}

// TestCommand runs the program itself and stops it as Ctrl-C does.
func TestCommand(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "echo.exe")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-addr", "127.0.0.1:0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c, _, err := websocket.Dial(t.Context(), listening(t, stdout)+"ws")
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.WriteText(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadMessage(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var ce *websocket.CloseError
	if _, _, err := c.ReadMessage(t.Context()); !errors.As(err, &ce) || ce.Code != websocket.StatusGoingAway {
		t.Errorf("ReadMessage() after SIGINT = %v, want code 1001", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit after SIGINT: %v, want status 0", err)
	}
}
