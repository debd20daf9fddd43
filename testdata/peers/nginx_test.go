package peers

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// nginxConfig is a reverse proxy as its documentation has it for WebSocket,
// in one process, with every file below the directory given by -p.
const nginxConfig = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr notice;
events {}
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	map $http_upgrade $connection_upgrade {
		default upgrade;
		''      close;
	}
	server {
		listen %s;
		location / {
			proxy_pass http://%s;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection $connection_upgrade;
			proxy_set_header Host $http_host;
		}
	}
}
`

// startNginx puts nginx in front of backend and returns it and its address.
// nginx cannot choose a port by itself, so one is found free, and another if
// it is lost before nginx has it.
func startNginx(t *testing.T, backend string) (*process, string) {
	t.Helper()
	var err error
	for range 3 {
		addr := freeAddress(t)
		dir := t.TempDir()
		conf := filepath.Join(dir, "nginx.conf")
		if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConfig, addr, backend), 0o600); err != nil {
			t.Fatal(err)
		}
		p := start(t, "apt-get install -y nginx", nginxPath(), "-p", dir, "-c", conf, "-e", "stderr")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		// It says which version it is once it listens.
		if _, err = p.stderr.wait(ctx, " nginx/", p.done); err == nil {
			return p, addr
		}
	}
	t.Fatalf("nginx does not start: %v", err)
	return nil, ""
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// nginxPath looks where Debian has it too: not every user's path has sbin.
func nginxPath() string {
	if path, err := exec.LookPath("nginx"); err == nil {
		return path
	}
	return "/usr/sbin/nginx"
}

// behindNginx is s as seen through a proxy.
func behindNginx(t *testing.T, s *server) (*process, *server) {
	t.Helper()
	backend := strings.TrimSuffix(strings.TrimPrefix(s.url, "ws://"), "/")
	p, addr := startNginx(t, backend)
	return p, &server{url: "ws://" + addr + "/", ends: s.ends}
}

func TestNginx(t *testing.T) {
	t.Run("both=ours", func(t *testing.T) {
		_, s := behindNginx(t, goServer(t, ours.accept))
		pairing{server: s, client: goClient(ours.dial)}.run(t)
	})
	t.Run("client=gorilla", func(t *testing.T) {
		_, s := behindNginx(t, goServer(t, ours.accept))
		pairing{server: s, client: goClient(gorillaDial)}.run(t)
	})
	t.Run("server=gorilla", func(t *testing.T) {
		_, s := behindNginx(t, goServer(t, gorillaAccept))
		pairing{server: s, client: goClient(ours.dial)}.run(t)
	})
}

// A proxy that dies is a line that is cut, for both sides.
func TestNginxKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, s := behindNginx(t, goServer(t, ours.accept))
	id := connectionID()
	c, err := ours.dial(ctx, s.url+"?id="+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Cut()
	sendAndRecv(t, c, "before")
	p.kill()
	if _, _, err := c.Recv(); err == nil || endOf(err, 0, nil).Code != 1006 {
		t.Errorf("Recv after the proxy died: %v, want 1006", err)
	}
	pairing{server: s}.checkEnd(ctx, t, id, ending{Code: 1006})
}

func sendAndRecv(t *testing.T, c conn, text string) {
	t.Helper()
	if err := c.Send("text", []byte(text)); err != nil {
		t.Fatal(err)
	}
	_, p, err := c.Recv()
	if err != nil || string(p) != text {
		t.Fatalf("echo of %q = %q, %v", text, p, err)
	}
}

// A client may send frames behind its request without waiting for the reply.
// The proxy hands them on in one segment, with the request or right after it.
func TestNginxFramesBehindRequest(t *testing.T) {
	const frames = 500
	_, s := behindNginx(t, goServer(t, ours.accept))
	addr := strings.TrimSuffix(strings.TrimPrefix(s.url, "ws://"), "/")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	var out bytes.Buffer
	fmt.Fprintf(&out, "GET /?id=%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", connectionID(), addr)
	for i := range frames {
		ws.WriteFrame(&out, ws.MaskFrame(ws.NewTextFrame(fmt.Appendf(nil, "frame %d", i))))
	}
	if _, err := c.Write(out.Bytes()); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: %v, %v", resp, err)
	}
	for i := range frames {
		f, err := ws.ReadFrame(br)
		if want := fmt.Sprintf("frame %d", i); err != nil || string(f.Payload) != want {
			t.Fatalf("reply %d = %q, %v, want %q", i, f.Payload, err, want)
		}
	}
}

// A server may send frames, and even its close frame, right behind its reply.
func TestNginxFramesBehindReply(t *testing.T) {
	backend := newHTTPServer(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := ours.accept(w, r)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Cut()
		if err := c.Send("text", []byte("hello")); err != nil {
			t.Error(err)
		}
		if end := endOf(c.Close(4000, "and bye"), 0, nil); end.Code != 4000 {
			t.Errorf("Close: %v", end)
		}
	})
	_, addr := startNginx(t, backend)
	for _, addr := range []string{backend, addr} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		c, err := ours.dial(ctx, "ws://"+addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Cut()
		if _, p, err := c.Recv(); err != nil || string(p) != "hello" {
			t.Errorf("first message = %q, %v", p, err)
		}
		if _, _, err := c.Recv(); err != (closedError{4000, "and bye"}) {
			t.Errorf("end = %v, want 4000 %q", err, "and bye")
		}
	}
}
