package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/websocket"
)

// serve starts a server that calls f with each connection.
func serve(t *testing.T, f func(*websocket.Conn)) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(handler(f))
	t.Cleanup(srv.Close)
	return srv
}

func handler(f func(*websocket.Conn)) http.Handler {
	up := &websocket.Upgrader{Subprotocols: []string{"lines"}, CheckOrigin: func(*http.Request) bool { return true }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Test", "yes")
		c, err := up.Upgrade(w, r)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.WriteText(c.Context(), r.Header.Get("X-Hello")+r.Header.Get("Origin")+c.Subprotocol())
		f(c)
	})
}

func echo(c *websocket.Conn) {
	for m, err := range c.Messages(c.Context()) {
		if err != nil || c.WriteMessage(c.Context(), m.Opcode, m.Data) != nil {
			return
		}
	}
}

func TestRun(t *testing.T) {
	long := strings.Repeat("long ", 100_000)
	for _, tt := range []struct {
		name   string
		args   []string
		stdin  string
		server func(*websocket.Conn)
		status int
		stdout string
		stderr string // a part of it
	}{
		{"echo", nil, "a\nb\n", echo, 0, "\na\nb\n", ""},
		{"no newline at the end", nil, "a\nb", echo, 0, "\na\nb\n", ""},
		{"carriage returns", nil, "a\r\nb\r\n", echo, 0, "\na\nb\n", ""},
		{"no input", nil, "", echo, 0, "\n", ""},
		{"empty line", nil, "\n", echo, 0, "\n\n", ""},
		{"long line", nil, long + "\n", echo, 0, "\n" + long + "\n", ""},
		{"binary", []string{"-binary"}, "a\nb\n", echo, 0, "\nab", ""},
		{"headers", []string{"-H", "X-Hello: hi ", "-origin", "https://o.example", "-subprotocol", "x,lines"}, "", echo, 0, "hihttps://o.examplelines\n", ""},
		{"ping", []string{"-ping", "1h", "-wait", "1ms"}, "", echo, 0, "\n", ""},
		{"not UTF-8", nil, "\xFF\n", echo, 1, "\n", "not UTF-8"},
		{"server closes", nil, "", func(c *websocket.Conn) { c.Close(websocket.StatusGoingAway, "") }, 0, "\n", ""},
		{"server fails", nil, "", func(c *websocket.Conn) { c.Close(websocket.StatusInternalError, "oh") }, 1, "\n", `1011 internal error: "oh"`},
		{"connection lost", nil, "", func(c *websocket.Conn) { c.CloseNow() }, 1, "\n", "1006"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := serve(t, tt.server)
			var stdin io.Reader = strings.NewReader(tt.stdin)
			if tt.status != 0 && tt.stdin == "" || strings.HasPrefix(tt.name, "server") {
				r, w := io.Pipe() // input that does not end before the server acts
				defer w.Close()
				stdin = r
			}
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), append(tt.args, srv.URL), stdin, &stdout, &stderr)
			if status != tt.status || stdout.String() != tt.stdout || !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("run(%q) = %d with output %.200q, errors %q, want %d, %.200q, %q",
					tt.args, status, stdout.String(), stderr.String(), tt.status, tt.stdout, tt.stderr)
			}
		})
	}
}

func TestRun_refused(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	for _, tt := range []struct {
		args   []string
		status int
	}{
		{[]string{srv.URL}, exitHandshake},
		{[]string{"ftp://example.com"}, exitHandshake},
		{nil, exitUsage},
		{[]string{"a", "b"}, exitUsage},
		{[]string{"-H", "no colon", srv.URL}, exitUsage},
		{[]string{"-unknown", srv.URL}, exitUsage},
		{[]string{"-cacert", "missing.pem", srv.URL}, exitUsage},
		{[]string{"-cacert", "main.go", srv.URL}, exitUsage},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), tt.args, strings.NewReader(""), &stdout, &stderr); status != tt.status || stderr.Len() == 0 {
			t.Errorf("run(%q) = %d with errors %q, want %d and a word about it", tt.args, status, stderr.String(), tt.status)
		}
	}
}

func TestRun_tls(t *testing.T) {
	srv := httptest.NewTLSServer(handler(echo))
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	url := "wss" + strings.TrimPrefix(srv.URL, "https")
	for _, tt := range []struct {
		args   []string
		status int
	}{
		{[]string{url}, exitHandshake},
		{[]string{"-cacert", ca, url}, exitOK},
		{[]string{"-insecure", url}, exitOK},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), tt.args, strings.NewReader("a\n"), &stdout, &stderr); status != tt.status {
			t.Errorf("run(%q) = %d with errors %q, want %d", tt.args, status, stderr.String(), tt.status)
		}
	}
}

// TestRun_interrupted ends the context as a signal does.
func TestRun_interrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	closed := make(chan error, 1)
	srv := serve(t, func(c *websocket.Conn) {
		c.ReadMessage(c.Context())
		cancel()
		_, _, err := c.ReadMessage(c.Context())
		closed <- err
	})
	stdin, w := io.Pipe()
	defer w.Close()
	go io.WriteString(w, "connected\n")
	var stdout, stderr bytes.Buffer
	if status := run(ctx, []string{srv.URL}, stdin, &stdout, &stderr); status != exitOK {
		t.Errorf("run() = %d with errors %q, want 0", status, stderr.String())
	}
	var ce *websocket.CloseError
	if err := <-closed; !errors.As(err, &ce) || ce.Code != websocket.StatusNormalClosure {
		t.Errorf("the server's read = %v, want code 1000", err)
	}
}
