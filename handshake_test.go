package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// sampleKey and sampleAccept are the pair in RFC 6455, section 1.3.
const (
	sampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// hangGuard ends a test that would otherwise hang. Nothing is measured by it.
const hangGuard = 30 * time.Second

// editFields applies edits to header lines: "-Name" deletes the lines of a
// field, "+Name: value" adds a line, "Name: value" replaces those there are.
func editFields(lines []string, edits ...string) []string {
	for _, e := range edits {
		add, _ := strings.CutPrefix(e, "+")
		name, _, _ := strings.Cut(strings.TrimPrefix(add, "-"), ":")
		if !strings.HasPrefix(e, "+") {
			lines = slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
				return strings.HasPrefix(strings.ToLower(l), strings.ToLower(name)+":")
			})
		}
		if !strings.HasPrefix(e, "-") {
			lines = append(lines, add)
		}
	}
	return lines
}

// rawRequest returns the sample handshake of RFC 6455 with edits.
func rawRequest(requestLine string, edits ...string) string {
	lines := editFields([]string{
		"Host: server.example.com",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Key: " + sampleKey,
		"Sec-WebSocket-Version: 13",
	}, edits...)
	return requestLine + "\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

const getChat = "GET /chat HTTP/1.1"

// textFrame returns a masked text frame, as a client sends it.
func textFrame(s string) []byte {
	h := Header{Fin: true, Opcode: OpText, Masked: true, Mask: [4]byte{1, 2, 3, 4}, Length: int64(len(s))}
	b := AppendHeader(nil, h)
	n := len(b)
	b = append(b, s...)
	Mask(h.Mask, 0, b[n:])
	return b
}

// An upgradeServer upgrades every request, echoes messages, and reports what
// Upgrade returned.
type upgradeServer struct {
	*httptest.Server
	errs     chan error
	handlers sync.WaitGroup
}

// serveUpgrades starts an upgradeServer. It must log nothing. setup may change
// it before it starts.
func serveUpgrades(t *testing.T, u *Upgrader, setup func(*upgradeServer)) *upgradeServer {
	t.Helper()
	s := &upgradeServer{errs: make(chan error, 100)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.handlers.Add(1)
		defer s.handlers.Done()
		c, err := u.Upgrade(w, r)
		s.errs <- err
		if err != nil {
			return
		}
		defer c.CloseNow()
		for m, err := range c.Messages(c.Context()) {
			if err != nil || c.WriteMessage(c.Context(), m.Opcode, m.Data) != nil {
				return
			}
		}
	}))
	s.Config.ErrorLog = log.New(failOnWrite{t}, "", 0)
	if setup != nil {
		setup(s)
	}
	if s.URL == "" {
		s.Start()
	}
	t.Cleanup(func() {
		s.Close()
		s.handlers.Wait()
	})
	return s
}

// wrapHandler changes the handler of a server that has not been started.
func wrapHandler(s *upgradeServer, f func(http.Handler, http.ResponseWriter, *http.Request)) {
	next := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(next, w, r) })
}

type failOnWrite struct{ t *testing.T }

func (f failOnWrite) Write(p []byte) (int, error) {
	f.t.Errorf("http.Server logged %q, want nothing", p)
	return len(p), nil
}

// A rawClient is a TCP connection to a server, with a reader on it.
type rawClient struct {
	net.Conn
	br *bufio.Reader
}

func dialServer(t *testing.T, addr string) *rawClient {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("net.Dial(%s) error = %v", addr, err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(hangGuard))
	return &rawClient{nc, bufio.NewReaderSize(nc, 64<<10)}
}

// response reads a response to a request with the method.
func (c *rawClient) response(t *testing.T, method string) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(c.br, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("http.ReadResponse error = %v", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("reading the body of %s: %v", resp.Status, err)
		}
		resp.Body = io.NopCloser(bytes.NewReader(b))
	}
	return resp
}

// wantEcho reads an unmasked text frame.
func (c *rawClient) wantEcho(t *testing.T, want string) {
	t.Helper()
	h, err := ReadHeader(c.br)
	if err != nil {
		t.Fatalf("ReadHeader error = %v, want a frame with %q", err, want)
	}
	p := make([]byte, h.Length)
	if _, err := io.ReadFull(c.br, p); err != nil || string(p) != want || h.Opcode != OpText {
		t.Fatalf("frame %v with %q, error = %v, want text %q", h, p, err, want)
	}
}

// wantEnd reads the rest of the stream, which must be empty. A reset is an end.
func (c *rawClient) wantEnd(t *testing.T) {
	t.Helper()
	b, err := io.ReadAll(c.br)
	if len(b) != 0 || isTimeout(err) {
		t.Errorf("behind the response came %d bytes %.40q, error = %v, want the end", len(b), b, err)
	}
}

func bodyText(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading the body of %s: %v", resp.Status, err)
	}
	return string(b)
}

func TestAcceptKey(t *testing.T) {
	for _, tt := range []struct{ key, want string }{
		{sampleKey, sampleAccept},
		{"sN9cRrP/n9NdMgdcy2VJFQ==", "fFBooB7FAkLlXgRSz0BT3v4hq5s="},
		{"xqBt3ImNzJbYqRINxEFlkg==", "K7DJLdLooIwIG/MOpvWFB3y3FE8="},
	} {
		if got := AcceptKey(tt.key); got != tt.want {
			t.Errorf("AcceptKey(%q) = %q, want %q", tt.key, got, tt.want)
		}
	}
}

// requestTests are handshakes and the status that each gets. Every one runs
// through accept and over TCP, whole and byte by byte.
var requestTests = []struct {
	name   string
	line   string // getChat if empty
	edits  []string
	status int
	say    string // must be in the error and in the body
}{
	{name: "RFC sample", status: 101},
	{name: "RFC sample with everything", edits: []string{"Origin: http://server.example.com",
		"Sec-WebSocket-Protocol: chat, superchat", "Sec-WebSocket-Extensions: mux; max-channels=4; flow-control, deflate-stream"}, status: 101},

	{name: "H1 POST", line: "POST /chat HTTP/1.1", edits: []string{"Content-Length: 0"}, status: 405, say: "GET"},
	{name: "H1 HEAD", line: "HEAD /chat HTTP/1.1", status: 405, say: "GET"},
	{name: "H1 PUT", line: "PUT /chat HTTP/1.1", edits: []string{"Content-Length: 0"}, status: 405, say: "GET"},
	{name: "H1 get in lower case", line: "get /chat HTTP/1.1", status: 405, say: "GET"},
	{name: "H2 HTTP/1.0", line: "GET /chat HTTP/1.0", status: 505, say: "HTTP/1.1"},

	{name: "H3 no Upgrade", edits: []string{"-Upgrade"}, status: 426, say: "websocket"},
	{name: "H3 empty Upgrade", edits: []string{"Upgrade:"}, status: 426, say: "websocket"},
	{name: "H3 websockets", edits: []string{"Upgrade: websockets"}, status: 426, say: "websocket"},
	{name: "H3 h2c", edits: []string{"Upgrade: h2c"}, status: 426, say: "websocket"},
	{name: "H3 two words", edits: []string{"Upgrade: h2c websocket"}, status: 426, say: "websocket"},
	{name: "H3 quoted", edits: []string{`Upgrade: "websocket"`}, status: 426, say: "websocket"},
	{name: "H3 Kelvin sign", edits: []string{"Upgrade: websoc\u212Aet"}, status: 426, say: "websocket"},
	{name: "H4 no Connection", edits: []string{"-Connection"}, status: 426, say: "upgrade"},
	{name: "H4 keep-alive", edits: []string{"Connection: keep-alive"}, status: 426, say: "upgrade"},
	{name: "H4 upgraded", edits: []string{"Connection: upgraded"}, status: 426, say: "upgrade"},
	{name: "H4 close", edits: []string{"Connection: close"}, status: 426, say: "upgrade"},
	{name: "H5 Connection in any case", edits: []string{"Connection: keep-alive, uPGRADE"}, status: 101},
	{name: "H5 Connection without spaces", edits: []string{"Connection: keep-alive,\tUpgrade ,"}, status: 101},
	{name: "H5 Connection on two lines", edits: []string{"Connection: keep-alive", "+Connection: upgrade"}, status: 101},
	{name: "H5 Upgrade with h2c", edits: []string{"Upgrade: h2c, WebSocket"}, status: 101},
	{name: "H5 Upgrade on two lines", edits: []string{"Upgrade: h2c", "+Upgrade: WEBSOCKET"}, status: 101},
	{name: "H5 field names in lower case", edits: []string{"upgrade: websocket", "connection: upgrade",
		"sec-websocket-key: " + sampleKey, "sec-websocket-version: 13"}, status: 101},

	{name: "H6 key missing", edits: []string{"-Sec-WebSocket-Key"}, status: 400, say: "Sec-WebSocket-Key"},
	{name: "H6 key empty", edits: []string{"Sec-WebSocket-Key:"}, status: 400, say: "16 bytes"},
	{name: "H6 key of 10 bytes", edits: []string{"Sec-WebSocket-Key: AAAAAAAAAAAAAA=="}, status: 400, say: "16 bytes"},
	{name: "H6 key of 18 bytes", edits: []string{"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA"}, status: 400, say: "16 bytes"},
	{name: "H6 key of 17 bytes", edits: []string{"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA="}, status: 400, say: "16 bytes"},
	{name: "H6 key not base64", edits: []string{"Sec-WebSocket-Key: ************************"}, status: 400, say: "16 bytes"},
	{name: "H6 key without padding", edits: []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"}, status: 400, say: "16 bytes"},
	{name: "H6 key in the URL alphabet", edits: []string{"Sec-WebSocket-Key: __________________________=="}, status: 400, say: "16 bytes"},
	{name: "H6 = replaced by _", edits: []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ__"}, status: 400, say: "16 bytes"},
	{name: "key of the RFC with bits left over", edits: []string{"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC=="}, status: 101},
	{name: "H7 two keys", edits: []string{"+Sec-WebSocket-Key: " + sampleKey}, status: 400, say: "2 Sec-WebSocket-Key"},
	{name: "H7 two keys in one line", edits: []string{"Sec-WebSocket-Key: " + sampleKey + ", " + sampleKey}, status: 400, say: "16 bytes"},

	{name: "H8 version 8", edits: []string{"Sec-WebSocket-Version: 8"}, status: 426, say: "13"},
	{name: "H8 version 0", edits: []string{"Sec-WebSocket-Version: 0"}, status: 426, say: "13"},
	{name: "H8 version 14", edits: []string{"Sec-WebSocket-Version: 14"}, status: 426, say: "13"},
	{name: "H8 version 013", edits: []string{"Sec-WebSocket-Version: 013"}, status: 426, say: "13"},
	{name: "H8 version list", edits: []string{"Sec-WebSocket-Version: 8, 13"}, status: 426, say: "13"},
	{name: "H8 version missing", edits: []string{"-Sec-WebSocket-Version"}, status: 426, say: "13"},
	{name: "H8 version empty", edits: []string{"Sec-WebSocket-Version:"}, status: 426, say: "13"},
	{name: "H8 two versions", edits: []string{"+Sec-WebSocket-Version: 13"}, status: 426, say: "2 lines"},

	{name: "H9 Origin of another host", edits: []string{"Origin: http://evil.example"}, status: 403, say: "Upgrader.Origins"},
	{name: "H9 Origin of another port", edits: []string{"Origin: http://server.example.com:8080"}, status: 403, say: "server.example.com"},
	{name: "H9 Origin of another scheme", edits: []string{"Origin: ftp://server.example.com"}, status: 403, say: "Upgrader.Origins"},
	{name: "H9 Origin null", edits: []string{"Origin: null"}, status: 403, say: "null"},
	{name: "H9 Origin empty", edits: []string{"Origin:"}, status: 403, say: "Upgrader.Origins"},
	{name: "H9 longer host", edits: []string{"Origin: http://server.example.com.evil"}, status: 403, say: "evil"},
	{name: "H9 user", edits: []string{"Origin: http://server.example.com@evil"}, status: 403, say: "evil"},
	{name: "H9 fragment", edits: []string{"Origin: http://evil#server.example.com"}, status: 403, say: "evil"},
	{name: "H9 unparsable", edits: []string{"Origin: http://[::1"}, status: 403, say: "Upgrader.Origins"},
	{name: "H9 no Origin", edits: []string{"-Origin"}, status: 101},
	{name: "H9 same host in capitals", edits: []string{"Origin: HTTP://SERVER.example.com:80"}, status: 101},
	{name: "H9 same host, TLS ended before us", edits: []string{"Origin: https://server.example.com"}, status: 101},
	{name: "H10 two Origins", edits: []string{"+Origin: http://server.example.com", "+Origin: http://server.example.com"}, status: 400, say: "2 Origin"},

	{name: "H11 subprotocols a,,b", edits: []string{"Sec-WebSocket-Protocol: a,,b"}, status: 400, say: "Sec-WebSocket-Protocol"},
	{name: "H11 subprotocol with space", edits: []string{"Sec-WebSocket-Protocol: a b"}, status: 400, say: "token"},
	{name: "H11 subprotocol quoted", edits: []string{`Sec-WebSocket-Protocol: "a"`}, status: 400, say: "token"},
	{name: "H11 subprotocol twice", edits: []string{"Sec-WebSocket-Protocol: a,a"}, status: 400, say: "twice"},
	{name: "H11 subprotocol twice on two lines", edits: []string{"Sec-WebSocket-Protocol: a", "+Sec-WebSocket-Protocol: b, a"}, status: 400, say: "twice"},
	{name: "H11 subprotocol empty", edits: []string{"Sec-WebSocket-Protocol:"}, status: 400, say: "token"},
	{name: "H11 subprotocol not ASCII", edits: []string{"Sec-WebSocket-Protocol: caf\u00e9"}, status: 400, say: "token"},
	{name: "H11 257 subprotocols", edits: []string{"Sec-WebSocket-Protocol: " + numbered(maxElements+1)}, status: 400, say: "more than 256"},
	{name: "256 subprotocols", edits: []string{"Sec-WebSocket-Protocol: " + numbered(maxElements)}, status: 101},
	{name: "H12 no common subprotocol", edits: []string{"Sec-WebSocket-Protocol: x, y"}, status: 101},

	{name: "H13 only a semicolon", edits: []string{"Sec-WebSocket-Extensions: ;"}, status: 400, say: "Sec-WebSocket-Extensions"},
	{name: "H13 parameter without name", edits: []string{"Sec-WebSocket-Extensions: a;=1"}, status: 400, say: "parameter"},
	{name: "H13 unclosed quote", edits: []string{`Sec-WebSocket-Extensions: a;b="c`}, status: 400, say: "quoted"},
	{name: "H13 extension in quotes", edits: []string{`Sec-WebSocket-Extensions: x;y=",permessage-deflate,"`}, status: 400, say: "quoted"},
	{name: "H13 empty", edits: []string{"Sec-WebSocket-Extensions:"}, status: 400, say: "no element"},
	{name: "H14 permessage-deflate is declined", edits: []string{"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"}, status: 101},
	{name: "H14 bad parameters are declined", edits: []string{"Sec-WebSocket-Extensions: permessage-deflate; x; x; server_max_window_bits=99, permessage-deflate"}, status: 101},

	{name: "H16 Content-Length", edits: []string{"Content-Length: 9"}, status: 400, say: "body"},
	{name: "H16 chunked", edits: []string{"Transfer-Encoding: chunked"}, status: 400, say: "body"},
	{name: "H16 Content-Length 0 is no body", edits: []string{"Content-Length: 0"}, status: 101},
}

// numbered returns the list "p0, p1, …" of n tokens.
func numbered(n int) string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprintf("p%d", i)
	}
	return strings.Join(s, ", ")
}

func TestUpgrade_requests(t *testing.T) {
	s := serveUpgrades(t, &Upgrader{Subprotocols: []string{"superchat", "chat"}}, nil)
	addr := s.Listener.Addr().String()
	for _, tt := range requestTests {
		line := tt.line
		if line == "" {
			line = getChat
		}
		raw := rawRequest(line, tt.edits...)
		t.Run(tt.name+"/accept", func(t *testing.T) {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
			if err != nil {
				t.Fatalf("http.ReadRequest error = %v", err)
			}
			_, _, err = new(Upgrader).accept(http.Header{}, r)
			checkRefusal(t, err, tt.status, tt.say)
		})
		for _, write := range []struct {
			name string
			to   func(io.Writer, string)
		}{{"whole", writeWhole}, {"H18 byte by byte", writeBytes}} {
			t.Run(tt.name+"/"+write.name, func(t *testing.T) {
				c := dialServer(t, addr)
				go write.to(c, raw)
				resp := c.response(t, strings.Fields(line)[0])
				if resp.StatusCode != tt.status {
					t.Fatalf("%s %v = %s, want %d", line, tt.edits, resp.Status, tt.status)
				}
				checkRefusal(t, <-s.errs, tt.status, tt.say)
				checkAnswer(t, c, resp, tt.say)
			})
		}
	}
}

func writeWhole(w io.Writer, s string) { io.WriteString(w, s) }

func writeBytes(w io.Writer, s string) {
	for i := range len(s) {
		if _, err := io.WriteString(w, s[i:i+1]); err != nil {
			return
		}
	}
}

// checkRefusal checks what Upgrade returned.
func checkRefusal(t *testing.T, err error, status int, say string) {
	t.Helper()
	if status == http.StatusSwitchingProtocols {
		if err != nil {
			t.Errorf("Upgrade error = %v, want nil", err)
		}
		return
	}
	var he *HandshakeError
	if !errors.As(err, &he) || he.Status != status {
		t.Fatalf("Upgrade error = %v, want a *HandshakeError with status %d", err, status)
	}
	if !strings.Contains(err.Error(), say) || strings.Count(err.Error(), "websocket: ") != 1 {
		t.Errorf("Upgrade error = %q, want %q in it and the prefix once", err, say)
	}
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7F }) {
		t.Errorf("Upgrade error = %q, want no control bytes", err)
	}
}

// checkAnswer checks the response to a request, and that after a 101 the
// connection works.
func checkAnswer(t *testing.T, c *rawClient, resp *http.Response, say string) {
	t.Helper()
	h := resp.Header
	want := map[string]string{} // field and value
	switch resp.StatusCode {
	case 101:
		if got, want := h["Sec-Websocket-Accept"], 1; len(got) != want {
			t.Errorf("%d Sec-WebSocket-Accept lines, want %d", len(got), want)
		}
		if h.Get("Sec-WebSocket-Location") != "" || h.Get("Sec-WebSocket-Extensions") != "" || h.Get("Sec-WebSocket-Origin") != "" {
			t.Errorf("101 with %v, want nothing of a draft and no extension", h)
		}
		want["Upgrade"], want["Connection"] = "websocket", "Upgrade"
	case 400:
		want["Connection"] = "" // net/http takes close for itself
		if !resp.Close {
			t.Errorf("400 without Connection: close")
		}
	case 405:
		want["Allow"] = "GET"
	case 426:
		want["Upgrade"], want["Sec-Websocket-Version"] = "websocket", "13"
		if !strings.HasPrefix(h.Get("Connection"), "Upgrade") && !resp.Close { // net/http takes close, and the field
			t.Errorf("426 with Connection: %q, want Upgrade in it", h.Get("Connection"))
		}
	}
	for name, v := range want {
		if got := h.Get(name); got != v {
			t.Errorf("%s with %s: %q, want %q", resp.Status, name, got, v)
		}
	}
	if resp.StatusCode == 101 {
		c.Write(textFrame("hi"))
		c.wantEcho(t, "hi")
		return
	}
	if body := bodyText(t, resp); resp.Request.Method != "HEAD" && !strings.Contains(body, say) {
		t.Errorf("%s with body %q, want %q in it", resp.Status, body, say)
	}
}

// TestUpgrade_H4_close reads the response to a request that is to be the last
// on its connection, byte by byte: it still says what would have done.
func TestUpgrade_H4_close(t *testing.T) {
	s := serveUpgrades(t, new(Upgrader), nil)
	c := dialServer(t, s.Listener.Addr().String())
	writeWhole(c, rawRequest(getChat, "Connection: close"))
	b, err := io.ReadAll(c.br)
	if want := "\r\nConnection: Upgrade, close\r\n"; err != nil || !strings.Contains(string(b), want) {
		t.Errorf("response %q, error = %v, want %q in it", b, err, want)
	}
}

func TestUpgrade_subprotocol(t *testing.T) {
	for _, tt := range []struct {
		name         string
		ours, offers []string
		want         string
	}{
		{"server's preference", []string{"a", "b"}, []string{"b, a"}, "a"},
		{"over two lines", []string{"c", "b"}, []string{"a", "b"}, "b"},
		{"H12 none in common", []string{"c"}, []string{"a, b"}, ""},
		{"case counts", []string{"Chat"}, []string{"chat"}, ""},
		{"none offered", []string{"a"}, nil, ""},
		{"none spoken", nil, []string{"a"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serveUpgrades(t, &Upgrader{Subprotocols: tt.ours}, nil)
			c := dialServer(t, s.Listener.Addr().String())
			var edits []string
			for _, o := range tt.offers {
				edits = append(edits, "+Sec-WebSocket-Protocol: "+o)
			}
			writeWhole(c, rawRequest(getChat, edits...))
			got := c.response(t, "GET").Header.Values("Sec-WebSocket-Protocol")
			if strings.Join(got, "|") != tt.want || len(got) > 1 {
				t.Errorf("Subprotocols %q offered %q: Sec-WebSocket-Protocol = %q, want %q", tt.ours, tt.offers, got, tt.want)
			}
		})
	}
}

// originTests are consulted with Host "app.example:8080" unless host is set.
var originTests = []struct {
	origin string
	host   string
	tls    bool
	list   []string
	status int // 101, 403 or 500
}{
	{origin: "http://app.example:8080", status: 101},
	{origin: "https://app.example:8080", status: 101},
	{origin: "http://app.example:8080", tls: true, status: 403},
	{origin: "https://app.example:8080", tls: true, status: 101},
	{origin: "http://app.example", status: 403},
	{origin: "http://app.example", host: "app.example", status: 101},
	{origin: "http://app.example", host: "app.example:80", status: 101},
	{origin: "https://app.example", host: "app.example:80", status: 403},
	{origin: "https://app.example", host: "app.example:443", status: 101},
	{origin: "https://app.example:443", host: "app.example", status: 101},
	{origin: "http://app.example:443", host: "app.example", status: 403},
	{origin: "http://APP.example", host: "app.EXAMPLE", status: 101},
	{origin: "http://app.example.", host: "app.example", status: 403},
	{origin: "http://app.example.", host: "app.example.", status: 101},
	{origin: "http://[::1]:8080", host: "[::1]:8080", status: 101},
	{origin: "http://[::1]", host: "[::1]", status: 101},
	{origin: "http://[::1]:8080", host: "[::2]:8080", status: 403},
	{origin: "http://[::1", host: "[::1", status: 403},
	{origin: "http://[0]", host: "[0]", status: 403},
	{origin: "http://[1.2.3.4]", host: "[1.2.3.4]", status: 403},
	{origin: "http://[::1%25eth0]", host: "[::1%25eth0]", status: 403},
	{origin: "http://127.0.0.1:8080", host: "127.0.0.1:8080", status: 101},
	{origin: "http://", host: "", status: 403},
	{origin: "http://:8080", host: ":8080", status: 403},
	{origin: "http://app.example:", host: "app.example", status: 403},
	{origin: "http://app.example:080", host: "app.example", status: 403},
	{origin: "http://app.example:65536", host: "app.example:65536", status: 403},
	{origin: "http://app.example:0", host: "app.example:0", status: 403},
	{origin: "http://app.example:+80", host: "app.example", status: 403},
	{origin: "http://app.example/", host: "app.example", status: 403},
	{origin: "http://app.example/x", host: "app.example", status: 403},
	{origin: "http://app.example?x", host: "app.example", status: 403},
	{origin: "http://app.example#x", host: "app.example", status: 403},
	{origin: "http://user@app.example", host: "app.example", status: 403},
	{origin: "http://user:pw@app.example", host: "app.example", status: 403},
	{origin: "http://app.example\\@evil", host: "app.example", status: 403},
	{origin: "http://evil.example app.example", host: "app.example", status: 403},
	{origin: "http://app.example http://app.example", host: "app.example", status: 403},
	{origin: "http:app.example", host: "app.example", status: 403},
	{origin: "//app.example", host: "app.example", status: 403},
	{origin: "app.example", host: "app.example", status: 403},
	{origin: "http://app%2eexample", host: "app%2eexample", status: 403},
	{origin: "http://\u212A.example", host: "k.example", status: 403},
	{origin: "http://..", host: "..", status: 403},
	{origin: "1http://app.example", host: "app.example", status: 403},
	{origin: "file://", status: 403},
	{origin: "chrome-extension://abc", host: "abc", status: 403},
	{origin: "null", host: "null", status: 403},
	{origin: "", host: "", status: 403},

	{origin: "https://other.example", list: []string{"https://other.example"}, status: 101},
	{origin: "https://other.example", tls: true, list: []string{"HTTPS://Other.Example:443"}, status: 101},
	{origin: "https://other.example", list: []string{"http://other.example"}, status: 403},
	{origin: "https://other.example:8443", list: []string{"https://other.example"}, status: 403},
	{origin: "https://other.example:8443", list: []string{"https://a.example", "https://other.example:8443"}, status: 101},
	{origin: "https://a.other.example", list: []string{"https://other.example"}, status: 403},
	{origin: "https://a.other.example", list: []string{"https://*.other.example"}, status: 101},
	{origin: "https://a.other.example:8443", list: []string{"https://*.other.example:8443"}, status: 101},
	{origin: "https://a.other.example:8443", list: []string{"https://*.other.example"}, status: 403},
	{origin: "https://other.example", list: []string{"https://*.other.example"}, status: 403},
	{origin: "https://.other.example", list: []string{"https://*.other.example"}, status: 403},
	{origin: "https://a.b.other.example", list: []string{"https://*.other.example"}, status: 403},
	{origin: "https://evilother.example", list: []string{"https://*.other.example"}, status: 403},
	{origin: "https://a.other.example.evil", list: []string{"https://*.other.example"}, status: 403},
	{origin: "http://a.other.example", list: []string{"https://*.other.example"}, status: 403},
	{origin: "http://[::1]", list: []string{"http://*.example"}, status: 403},
	{origin: "null", list: []string{"null"}, status: 101},
	{origin: "null", list: []string{"https://*.example"}, status: 403},
	{origin: "file://", list: []string{"file://"}, status: 101},
	{origin: "file://x", list: []string{"file://"}, status: 403},
	{origin: "capacitor://localhost", list: []string{"capacitor://localhost"}, status: 101},
	{origin: "capacitor://localhost:1", list: []string{"capacitor://localhost"}, status: 403},
	{origin: "vscode-webview://x", list: []string{"vscode-webview://*.x"}, status: 403},
	{origin: "http://app.example:8080", list: []string{"bad entry, never consulted"}, status: 101},
	{origin: "rubbish", list: []string{"https://a.example"}, status: 403},

	{origin: "https://other.example", list: []string{"other.example"}, status: 500},
	{origin: "https://other.example", list: []string{"*"}, status: 500},
	{origin: "1app://x", list: []string{"1app://x"}, status: 500},
	{origin: "a_b://x", list: []string{"a_b://x"}, status: 500},
	{origin: "://x", list: []string{"://x"}, status: 500},
	{origin: "a+b-c.1://x", list: []string{"a+b-c.1://x"}, status: 101},
	{origin: "https://other.example", list: []string{"https://*"}, status: 500},
	{origin: "https://other.example", list: []string{"https://*."}, status: 500},
	{origin: "https://other.example", list: []string{"https://*.*.example"}, status: 500},
	{origin: "https://other.example", list: []string{"https://a.*.example"}, status: 500},
	{origin: "https://other.example", list: []string{"file://*."}, status: 500},
	{origin: "https://other.example", list: []string{"https://other.example/"}, status: 500},
	{origin: "https://other.example", list: []string{"https://other.example", ""}, status: 500},
}

func TestUpgrade_H9_origins(t *testing.T) {
	for _, tt := range originTests {
		host := tt.host
		if host == "" && tt.origin != "" && tt.origin != "http://" {
			host = "app.example:8080"
		}
		t.Run(fmt.Sprintf("%s to %s tls=%t %q", tt.origin, host, tt.tls, tt.list), func(t *testing.T) {
			r := &http.Request{Host: host, Header: http.Header{"Origin": {tt.origin}}}
			if tt.tls {
				r.TLS = new(tls.ConnectionState)
			}
			err := (&Upgrader{Origins: tt.list}).checkOrigin(r)
			var he *HandshakeError
			status := 101
			if errors.As(err, &he) {
				status = he.Status
			}
			if status != tt.status {
				t.Fatalf("checkOrigin = %v, want status %d", err, tt.status)
			}
			if status == 500 && !strings.Contains(err.Error(), quote(tt.list[len(tt.list)-1])) {
				t.Errorf("checkOrigin = %v, want the entry %q named", err, tt.list)
			}
			self := quote(host)
			if tt.tls {
				self = quote("https://" + host)
			}
			if status == 403 && (!strings.Contains(err.Error(), "Upgrader.Origins") || !strings.Contains(err.Error(), self)) {
				t.Errorf("checkOrigin = %v, want %s and Upgrader.Origins named", err, self)
			}
		})
	}
}

func TestUpgrade_CheckOrigin(t *testing.T) {
	for _, tt := range []struct {
		name    string
		origins []string
		let     bool
		status  int
	}{
		{"let in", []string{"null"}, true, 101},
		{"refused", []string{"http://server.example.com"}, false, 403},
		{"asked without Origin", nil, false, 403},
		{"H10 two Origins are never let in", []string{"http://a", "http://b"}, true, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header["Origin"] = tt.origins
			u := &Upgrader{Origins: []string{"malformed"}, CheckOrigin: func(got *http.Request) bool {
				if got != r {
					t.Errorf("CheckOrigin(%p), want the request %p", got, r)
				}
				return tt.let
			}}
			say := "CheckOrigin"
			if tt.status == 400 {
				say = "2 Origin"
			}
			checkRefusal(t, u.checkOrigin(r), tt.status, say)
		})
	}
}

// TestUpgrade_H9_status500 checks that a mistake of the developer's is told to
// the developer and not to the peer.
func TestUpgrade_H9_status500(t *testing.T) {
	s := serveUpgrades(t, &Upgrader{Origins: []string{"secret.example"}}, nil)
	c := dialServer(t, s.Listener.Addr().String())
	writeWhole(c, rawRequest(getChat, "Origin: http://evil.example"))
	resp := c.response(t, "GET")
	if body := bodyText(t, resp); resp.StatusCode != 500 || strings.Contains(body, "secret") {
		t.Errorf("malformed entry in Origins: %s with body %q, want 500 that does not show it", resp.Status, body)
	}
	checkRefusal(t, <-s.errs, 500, "secret.example")
}

func TestUpgrade_H15_longLines(t *testing.T) {
	const size = 900 << 10
	s := serveUpgrades(t, new(Upgrader), nil)
	for _, field := range []struct {
		name   string
		base   string // what is valid with nothing behind it
		status int    // for a line of separators
	}{
		{"Upgrade", "websocket", 101},
		{"Connection", "upgrade", 101},
		{"Sec-WebSocket-Key", sampleKey, 400},
		{"Sec-WebSocket-Version", "13", 426},
		{"Origin", "http://server.example.com", 403},
		{"Sec-WebSocket-Protocol", "chat", 400},
		{"Sec-WebSocket-Extensions", "x", 400},
	} {
		for _, fill := range []string{",", "\"", "\\", " ,", ";", "a,", "a;", "x;y=\"", "\\c", "http://"} {
			t.Run(field.name+" "+fill, func(t *testing.T) {
				status := field.status
				switch {
				case strings.HasPrefix(field.name, "Sec-WebSocket-Ext") && strings.Trim(fill, " ,") == "":
					status = 101 // empty elements are none
				case status == 101 && !strings.HasPrefix(fill, ",") && !strings.HasPrefix(fill, " ,"):
					status = 426 // "websocketa,a,a" is another token
				}
				value := field.base + strings.Repeat(fill, size/len(fill))
				c := dialServer(t, s.Listener.Addr().String())
				go writeWhole(c, rawRequest(getChat, field.name+": "+value))
				resp := c.response(t, "GET")
				if err := <-s.errs; resp.StatusCode != status || err != nil && len(err.Error()) > 1000 {
					t.Errorf("%s: %s and %d bytes of %q = %s, error = %v, want %d and a short error", field.name, field.base, size, fill, resp.Status, err, status)
				}
				if body := bodyTextUnless101(t, resp); len(body) > 1000 {
					t.Errorf("body of %d bytes, want a short one", len(body))
				}
			})
		}
	}
	t.Run("431", func(t *testing.T) {
		c := dialServer(t, s.Listener.Addr().String())
		go writeWhole(c, rawRequest(getChat, "Sec-WebSocket-Protocol: "+strings.Repeat(",", 2<<20)))
		if resp := c.response(t, "GET"); resp.StatusCode != 431 {
			t.Errorf("2 MiB of commas = %s, want 431", resp.Status)
		}
	})
}

func bodyTextUnless101(t *testing.T, resp *http.Response) string {
	t.Helper()
	if resp.StatusCode == 101 {
		return ""
	}
	return bodyText(t, resp)
}

// TestLists_H15_memory checks that what is kept of a list does not follow its
// length.
func TestLists_H15_memory(t *testing.T) {
	const most = 256 << 10 // bytes; the lists have a million
	for _, unit := range []string{"%d,", "%d;p=%d,", "a;%d", ";%d", ",", `;p="%d"`} {
		var b strings.Builder
		b.WriteString("a")
		for n := 0; b.Len() < 1<<20; n++ {
			b.WriteString(strings.ReplaceAll(unit, "%d", fmt.Sprint(n)))
		}
		list := []string{b.String()}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		parseExtensions(list)
		parseSubprotocols(list)
		countToken(list, "a")
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > most {
			t.Errorf("a MiB of %q: %d bytes allocated, want %d at most", unit, n, most)
		}
	}
}

// TestUpgrade_H16_body sends frames as the body of a request: with the head,
// and after the response has come.
func TestUpgrade_H16_body(t *testing.T) {
	frame := string(textFrame("abc")) // nine bytes
	for _, tt := range []struct{ name, field, body string }{
		{"Content-Length", "Content-Length: 9", frame},
		{"chunked", "Transfer-Encoding: chunked", "9\r\n" + frame + "\r\n0\r\n\r\n"},
		{"empty chunked", "Transfer-Encoding: chunked", "0\r\n\r\n" + frame},
		{"Content-Length with Expect", "+Expect: 100-continue\r\nContent-Length: 9", frame},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("H16 %s late=%t", tt.name, late), func(t *testing.T) {
				s := serveUpgrades(t, new(Upgrader), nil)
				c := dialServer(t, s.Listener.Addr().String())
				head := rawRequest(getChat, tt.field)
				if !late {
					head += tt.body
				}
				writeWhole(c, head)
				if resp := c.response(t, "GET"); resp.StatusCode != 400 || !resp.Close {
					t.Fatalf("request with a body = %s, close=%t, want 400 and close", resp.Status, resp.Close)
				}
				checkRefusal(t, <-s.errs, 400, "body")
				if late {
					writeWhole(c, tt.body)
				}
				c.wantEnd(t)
			})
		}
	}
}

func TestUpgrade_H17_framesBehind(t *testing.T) {
	s := serveUpgrades(t, new(Upgrader), nil)
	for _, n := range []int{1, 2, 8 << 10 / 9, 64 << 10 / 9} {
		t.Run(fmt.Sprintf("H17 %d frames", n), func(t *testing.T) {
			c := dialServer(t, s.Listener.Addr().String())
			go c.Write(append([]byte(rawRequest(getChat)), bytes.Repeat(textFrame("abc"), n)...))
			if resp := c.response(t, "GET"); resp.StatusCode != 101 {
				t.Fatalf("response %s, want 101", resp.Status)
			}
			for range n {
				c.wantEcho(t, "abc")
			}
		})
	}
}

func TestUpgrade_header(t *testing.T) {
	u := &Upgrader{Header: http.Header{"X-Both": {"from u"}, "x-lower": {"1", "2"}}}
	s := serveUpgrades(t, u, func(s *upgradeServer) {
		wrapHandler(s, func(next http.Handler, w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "1"})
			http.SetCookie(w, &http.Cookie{Name: "b", Value: "2"})
			w.Header().Set("X-Both", "from w")
			w.Header().Set("Content-Length", "7")
			w.Header().Set("Connection", "close")
			w.Header()["sec-websocket-accept"] = []string{"forged"}
			w.Header()["Date"] = nil
			next.ServeHTTP(w, r)
		})
	})
	c := dialServer(t, s.Listener.Addr().String())
	writeWhole(c, rawRequest(getChat))
	got := c.response(t, "GET").Header
	want := http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Accept": {sampleAccept},
		"Set-Cookie": {"a=1", "b=2"}, "X-Both": {"from w", "from u"}, "X-Lower": {"1", "2"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("101 with header %v, want %v", got, want)
	}
}

func TestUpgrade_H19_injection(t *testing.T) {
	field := func(name, value string) http.Header { return http.Header{name: {value}} }
	for _, tt := range []struct {
		name string
		u    Upgrader
		w    http.Header // set before Upgrade
		say  string
	}{
		{name: "H19 CR LF in a value", u: Upgrader{Header: field("X-A", "a\r\nInjected: 1")}, say: "0x0d"},
		{name: "H19 LF in a value", u: Upgrader{Header: field("X-A", "a\nInjected: 1")}, say: "0x0a"},
		{name: "H19 NUL in a value", u: Upgrader{Header: field("X-A", "a\x00Injected: 1")}, say: "0x00"},
		{name: "H19 DEL in a value", u: Upgrader{Header: field("X-A", "Injected\x7f")}, say: "0x7f"},
		{name: "H19 CR LF in a name", u: Upgrader{Header: field("Injected: 1\r\nX", "1")}, say: "not a token"},
		{name: "H19 empty name", u: Upgrader{Header: field("", "Injected")}, say: "not a token"},
		{name: "H19 colon in a name", u: Upgrader{Header: field("Injected:", "1")}, say: "not a token"},
		{name: "H19 CR LF in w", w: field("X-A", "a\r\nInjected: 1"), say: "0x0d"},
		{name: "H19 LF in w", w: field("X-A", "a\nInjected: 1"), say: "0x0a"},
		{name: "H19 CR LF in a name in w", w: field("Injected: 1\r\nX", "1"), say: "not a token"},
		{name: "H19 CR LF in a subprotocol", u: Upgrader{Subprotocols: []string{"chat", "chat\r\nInjected: 1"}}, say: "Subprotocols"},
		{name: "H19 list as a subprotocol", u: Upgrader{Subprotocols: []string{"chat, Injected"}}, say: "Subprotocols"},
		{name: "empty subprotocol", u: Upgrader{Subprotocols: []string{""}}, say: "Subprotocols"},
		{name: "subprotocol twice", u: Upgrader{Subprotocols: []string{"a", "b", "a"}}, say: "twice"},
		{name: "owned: Upgrade", u: Upgrader{Header: field("Upgrade", "Injected")}, say: "Upgrade"},
		{name: "owned: connection", u: Upgrader{Header: field("connection", "Injected")}, say: "connection"},
		{name: "owned: Sec-WebSocket-Accept", u: Upgrader{Header: field("Sec-WebSocket-Accept", "Injected")}, say: "Sec-WebSocket-Accept"},
		{name: "owned: Sec-Websocket-Anything", u: Upgrader{Header: field("Sec-Websocket-Anything", "Injected")}, say: "handshake sets"},
		{name: "owned: Content-Length", u: Upgrader{Header: field("Content-Length", "3")}, say: "Content-Length"},
		{name: "owned: Transfer-Encoding", u: Upgrader{Header: field("Transfer-Encoding", "chunked")}, say: "Transfer-Encoding"},
		{name: "compression", u: Upgrader{Options: Options{Compression: &Compression{ReadWindowBits: -1}}}, say: "Compression"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serveUpgrades(t, &tt.u, func(s *upgradeServer) {
				wrapHandler(s, func(next http.Handler, w http.ResponseWriter, r *http.Request) {
					for name, v := range tt.w {
						w.Header()[name] = v
					}
					next.ServeHTTP(w, r)
				})
			})
			c := dialServer(t, s.Listener.Addr().String())
			writeWhole(c, rawRequest(getChat, "Sec-WebSocket-Protocol: chat"))
			resp := c.response(t, "GET")
			if resp.StatusCode != 500 || resp.Header.Get("Injected") != "" {
				t.Errorf("response %s with %v, want 500 and nothing injected", resp.Status, resp.Header)
			}
			if body := bodyText(t, resp); strings.Contains(body, "Injected") || strings.Contains(body, "Upgrader") {
				t.Errorf("500 with body %q, want nothing of the server's settings", body)
			}
			checkRefusal(t, <-s.errs, 500, tt.say)
		})
	}
}

// Writers of middleware.
type (
	hidingWriter     struct{ http.ResponseWriter }
	unwrapWriter     struct{ http.ResponseWriter }
	refusingWriter   struct{ http.ResponseWriter }
	bufferlessWriter struct{ http.ResponseWriter }
)

func (w unwrapWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w refusingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, http.ErrNotSupported
}

func (w bufferlessWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, _, err := http.NewResponseController(w.ResponseWriter).Hijack()
	return nc, nil, err
}

func TestUpgrade_H20_writers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		wrap   func(http.ResponseWriter) http.ResponseWriter
		status int
		say    string
	}{
		{"H20 Unwrap", func(w http.ResponseWriter) http.ResponseWriter { return unwrapWriter{unwrapWriter{w}} }, 101, ""},
		{"H20 no Hijack", func(w http.ResponseWriter) http.ResponseWriter { return hidingWriter{w} }, 500, "websocket.hidingWriter"},
		{"H20 no Hijack inside", func(w http.ResponseWriter) http.ResponseWriter { return unwrapWriter{&hidingWriter{w}} }, 500, "*websocket.hidingWriter"},
		{"H20 Hijack fails", func(w http.ResponseWriter) http.ResponseWriter { return unwrapWriter{refusingWriter{w}} }, 500, "websocket.refusingWriter"},
		{"no bufio.ReadWriter", func(w http.ResponseWriter) http.ResponseWriter { return bufferlessWriter{w} }, 101, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serveUpgrades(t, new(Upgrader), func(s *upgradeServer) {
				wrapHandler(s, func(next http.Handler, w http.ResponseWriter, r *http.Request) {
					next.ServeHTTP(tt.wrap(w), r)
				})
			})
			c := dialServer(t, s.Listener.Addr().String())
			writeWhole(c, rawRequest(getChat))
			resp := c.response(t, "GET")
			if resp.StatusCode != tt.status {
				t.Fatalf("response %s, want %d", resp.Status, tt.status)
			}
			err := <-s.errs
			checkRefusal(t, err, tt.status, tt.say)
			if tt.status == 500 && !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("Upgrade error = %v, want http.ErrNotSupported in it", err)
			}
			checkAnswer(t, c, resp, http.StatusText(tt.status))
		})
	}
}

func TestUpgrade_H20_recorder(t *testing.T) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(rawRequest(getChat))))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	_, err = Upgrade(w, r)
	checkRefusal(t, err, 500, "*httptest.ResponseRecorder")
	if w.Code != 500 || w.Header().Get("Upgrade") != "" {
		t.Errorf("response %d with %v, want 500 and no Upgrade", w.Code, w.Header())
	}
}

// TestUpgrade_twice calls Upgrade on a writer that has given its connection up.
func TestUpgrade_twice(t *testing.T) {
	s := serveUpgrades(t, new(Upgrader), func(s *upgradeServer) {
		wrapHandler(s, func(next http.Handler, w http.ResponseWriter, r *http.Request) {
			c, err := Upgrade(w, r)
			if err != nil {
				t.Errorf("Upgrade error = %v, want nil", err)
				return
			}
			defer c.CloseNow()
			next.ServeHTTP(w, r)
		})
	})
	c := dialServer(t, s.Listener.Addr().String())
	writeWhole(c, rawRequest(getChat))
	c.response(t, "GET")
	err := <-s.errs
	var he *HandshakeError
	if !errors.As(err, &he) || he.Status != 0 || !errors.Is(err, http.ErrHijacked) {
		t.Errorf("second Upgrade error = %v, want a *HandshakeError without status around http.ErrHijacked", err)
	}
	c.wantEnd(t)
}

// TestUpgrade_H21_peerGone upgrades when the server has seen the peer's reset.
func TestUpgrade_H21_peerGone(t *testing.T) {
	s := serveUpgrades(t, new(Upgrader), func(s *upgradeServer) {
		wrapHandler(s, func(next http.Handler, w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			next.ServeHTTP(w, r)
		})
	})
	c := dialServer(t, s.Listener.Addr().String())
	writeWhole(c, rawRequest(getChat))
	c.Conn.(*net.TCPConn).SetLinger(0)
	c.Close()
	err := <-s.errs
	var he *HandshakeError
	var oe *net.OpError
	if !errors.As(err, &he) || he.Status != 0 || !errors.As(err, &oe) {
		t.Errorf("Upgrade error = %v, want a *HandshakeError without status around a *net.OpError", err)
	}
}

// A scriptConn is a net.Conn that notes what is done to it and fails the nth
// operation.
type scriptConn struct {
	net.Conn // nil
	ops      []string
	failAt   int // 1 is the first operation; 0: never
	wrote    bytes.Buffer
	in       io.Reader
}

var errScript = errors.New("scripted failure")

func (c *scriptConn) do(op string) error {
	c.ops = append(c.ops, op)
	if len(c.ops) == c.failAt {
		return errScript
	}
	return nil
}

func deadlineOp(name string, d time.Time) string {
	if d.IsZero() {
		return name + " none"
	}
	return name
}

func (c *scriptConn) SetDeadline(d time.Time) error     { return c.do(deadlineOp("deadline", d)) }
func (c *scriptConn) SetReadDeadline(d time.Time) error { return c.do(deadlineOp("read deadline", d)) }
func (c *scriptConn) SetWriteDeadline(d time.Time) error {
	return c.do(deadlineOp("write deadline", d))
}
func (c *scriptConn) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (c *scriptConn) RemoteAddr() net.Addr { return &net.TCPAddr{} }
func (c *scriptConn) Close() error         { return c.do("close") }

func (c *scriptConn) Write(p []byte) (int, error) {
	if err := c.do("write"); err != nil {
		return 0, err
	}
	return c.wrote.Write(p)
}

func (c *scriptConn) Read(p []byte) (int, error) {
	if c.in == nil {
		return 0, os.ErrDeadlineExceeded
	}
	return c.in.Read(p)
}

// A scriptWriter gives up a scriptConn.
type scriptWriter struct {
	*httptest.ResponseRecorder
	conn   *scriptConn
	behind string
}

func (w *scriptWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	br := bufio.NewReader(strings.NewReader(w.behind))
	br.Peek(1)
	return w.conn, bufio.NewReadWriter(br, bufio.NewWriter(w.conn)), nil
}

// TestUpgrade_operations checks what Upgrade does to the connection, in order,
// and that each failure closes it and is reported.
func TestUpgrade_operations(t *testing.T) {
	upgrade := func(failAt int, o Options) (*scriptConn, error) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(rawRequest(getChat))))
		if err != nil {
			t.Fatal(err)
		}
		w := &scriptWriter{httptest.NewRecorder(), &scriptConn{failAt: failAt}, ""}
		_, err = (&Upgrader{Options: o}).Upgrade(w, r)
		return w.conn, err
	}
	want := []string{"deadline none", "write deadline", "write", "write deadline none"}
	for n := range 5 {
		t.Run(fmt.Sprintf("failure of operation %d", n), func(t *testing.T) {
			conn, err := upgrade(n, Options{})
			if n == 0 {
				if err != nil || !slices.Equal(conn.ops, want) {
					t.Errorf("Upgrade did %q, error = %v, want %q", conn.ops, err, want)
				}
				return
			}
			var he *HandshakeError
			if !errors.Is(err, errScript) || !errors.As(err, &he) || he.Status != 0 {
				t.Errorf("Upgrade error = %v, want a *HandshakeError without status around %v", err, errScript)
			}
			if ops := append(slices.Clone(want[:n]), "close"); !slices.Equal(conn.ops, ops) {
				t.Errorf("Upgrade did %q, want %q", conn.ops, ops)
			}
		})
	}
	t.Run("no write timeout", func(t *testing.T) {
		conn, err := upgrade(0, Options{WriteTimeout: -1})
		want := []string{"deadline none", "write", "write deadline none"}
		if err != nil || !slices.Equal(conn.ops, want) {
			t.Errorf("Upgrade did %q, error = %v, want %q", conn.ops, err, want)
		}
	})
	t.Run("response", func(t *testing.T) {
		conn, _ := upgrade(0, Options{})
		want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Accept: " + sampleAccept + "\r\n\r\n"
		if got := conn.wrote.String(); got != want {
			t.Errorf("Upgrade wrote %q, want %q", got, want)
		}
	})
}

func TestUpgrade_H22_panic(t *testing.T) {
	ctxs := make(chan context.Context, 1)
	s := serveUpgrades(t, new(Upgrader), func(s *upgradeServer) {
		wrapHandler(s, func(_ http.Handler, w http.ResponseWriter, r *http.Request) {
			c, err := Upgrade(w, r)
			if err != nil {
				t.Errorf("Upgrade error = %v, want nil", err)
				return
			}
			defer c.CloseNow()
			ctxs <- c.Context()
			panic(http.ErrAbortHandler)
		})
	})
	c := dialServer(t, s.Listener.Addr().String())
	writeWhole(c, rawRequest(getChat))
	c.response(t, "GET")
	<-(<-ctxs).Done()
	c.wantEnd(t)
}

func TestUpgrade_H23_http2(t *testing.T) {
	s := serveUpgrades(t, new(Upgrader), func(s *upgradeServer) {
		s.EnableHTTP2 = true
		s.StartTLS()
	})
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatalf("GET error = %v", err)
	}
	defer resp.Body.Close()
	if body := bodyText(t, resp); resp.ProtoMajor != 2 || resp.StatusCode != 400 || !strings.Contains(body, "RFC 8441") {
		t.Errorf("GET over HTTP/%d = %s with %q, want 400 that names RFC 8441", resp.ProtoMajor, resp.Status, body)
	}
	if h := resp.Header; h.Get("Upgrade") != "" || h.Get("Connection") != "" {
		t.Errorf("header %v, want neither Upgrade nor Connection", h)
	}
	checkRefusal(t, <-s.errs, 400, "HTTP/1.1")
}

// TestUpgrade_serverTimeouts checks that deadlines of the http.Server do not
// outlive the handshake.
func TestUpgrade_serverTimeouts(t *testing.T) {
	s := serveUpgrades(t, new(Upgrader), func(s *upgradeServer) {
		s.Config.ReadTimeout, s.Config.WriteTimeout = time.Hour, time.Hour
		wrapHandler(s, func(next http.Handler, w http.ResponseWriter, r *http.Request) {
			// Passed deadlines, as if the hour were over.
			rc := http.NewResponseController(w)
			rc.SetWriteDeadline(aLongTimeAgo)
			next.ServeHTTP(w, r)
		})
	})
	c := dialServer(t, s.Listener.Addr().String())
	writeWhole(c, rawRequest(getChat))
	checkAnswer(t, c, c.response(t, "GET"), "")
}

// TestUpgrader_shared upgrades in many goroutines by one Upgrader, which the
// race detector watches and which must be unchanged at the end.
func TestUpgrader_shared(t *testing.T) {
	newUpgrader := func() *Upgrader {
		return &Upgrader{Origins: []string{"https://*.example"}, Subprotocols: []string{"chat"}, Header: http.Header{"X-A": {"1"}}}
	}
	u := newUpgrader()
	s := serveUpgrades(t, u, nil)
	var wg sync.WaitGroup
	for range 16 {
		c := dialServer(t, s.Listener.Addr().String())
		wg.Go(func() {
			writeWhole(c, rawRequest(getChat, "Origin: https://a.example", "Sec-WebSocket-Protocol: chat")+string(textFrame("x")))
			http.ReadResponse(c.br, nil)
			if h, err := ReadHeader(c.br); err != nil || h.Length != 1 {
				t.Errorf("ReadHeader = %v, error = %v, want a frame of one byte", h, err)
			}
		})
	}
	wg.Wait()
	if !reflect.DeepEqual(u, newUpgrader()) {
		t.Errorf("Upgrader = %+v after use, want %+v", u, newUpgrader())
	}
}

func TestHandshakeError(t *testing.T) {
	long := errors.New(strings.Repeat("é", 1000) + "\n")
	for _, tt := range []struct {
		err  *HandshakeError
		want string
	}{
		{&HandshakeError{Status: 403, Reason: "no"}, "websocket: handshake refused (403): no"},
		{&HandshakeError{Status: 101, Reason: "no"}, "websocket: handshake failed (101): no"},
		{&HandshakeError{Reason: "no", Err: io.EOF}, "websocket: handshake failed: no: EOF"},
		{&HandshakeError{Status: 500, Err: errors.New("websocket: a\r\nb")}, "websocket: handshake refused (500): a??b"},
		{&HandshakeError{Err: long}, "websocket: handshake failed: " + strings.Repeat("é", 256) + "…"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%#v.Error() = %q, want %q", tt.err, got, tt.want)
		}
		if got := errors.Unwrap(tt.err); got != tt.err.Err {
			t.Errorf("%#v.Unwrap() = %v, want %v", tt.err, got, tt.err.Err)
		}
	}
}

var extensionTests = []struct {
	lines []string
	want  []extension // nil: malformed
}{
	{[]string{"foo"}, []extension{{name: "foo"}}},
	{[]string{"foo, bar; baz=2"}, []extension{{name: "foo"}, {"bar", []extensionParam{{"baz", "2"}}}}},
	{[]string{"foo", "bar; baz=2"}, []extension{{name: "foo"}, {"bar", []extensionParam{{"baz", "2"}}}}},
	{[]string{"mux; max-channels=4; flow-control, deflate-stream"},
		[]extension{{"mux", []extensionParam{{"max-channels", "4"}, {"flow-control", ""}}}, {name: "deflate-stream"}}},
	{[]string{" \ta\t; b\t= \"c\"\t; d ,, e ,"}, []extension{{"a", []extensionParam{{"b", "c"}, {"d", ""}}}, {name: "e"}}},
	{[]string{`a;b="c\d\"`}, nil},
	{[]string{`a;b="\c\d"`}, []extension{{"a", []extensionParam{{"b", "cd"}}}}},
	{[]string{"", "a"}, []extension{{name: "a"}}},
	{[]string{""}, nil},
	{[]string{",,"}, nil},
	{[]string{";"}, nil},
	{[]string{";a"}, nil},
	{[]string{"a,;b"}, nil},
	{[]string{"=a"}, nil},
	{[]string{"a;"}, nil},
	{[]string{"a;=1"}, nil},
	{[]string{"a;b="}, nil},
	{[]string{"a;b=c d"}, nil},
	{[]string{"a b"}, nil},
	{[]string{"a=b"}, nil},
	{[]string{`"a"`}, nil},
	{[]string{`a;b=""`}, nil},
	{[]string{`a;b="c d"`}, nil},
	{[]string{`a;b=" c"`}, nil},
	{[]string{`a;b="c "`}, nil},
	{[]string{`a;b= "c" ;d`}, []extension{{"a", []extensionParam{{"b", "c"}, {"d", ""}}}}},
	{[]string{`a;b="c`}, nil},
	{[]string{`a;b="c\`}, nil},
	{[]string{`a;b="c"d`}, nil},
	{[]string{`a;b="`, `"`}, nil}, // quotes do not reach over lines
	{[]string{`x;y=",permessage-deflate,"`}, nil},
	{[]string{`x;y="\,permessage-deflate\,"`}, nil},
	{[]string{"a;b=\"c\x00\""}, nil},
	{[]string{"a\r\nb"}, nil},
	{[]string{"a" + strings.Repeat(";b", maxElements)}, nil},
	{[]string{strings.Repeat("a,", maxElements+1)}, nil},
	{[]string{strings.Repeat("a,", maxElements), "a"}, nil},
}

func TestParseExtensions_H13(t *testing.T) {
	for _, tt := range extensionTests {
		t.Run(fmt.Sprintf("%.60q", tt.lines), func(t *testing.T) {
			got, err := parseExtensions(tt.lines)
			if (err == nil) != (tt.want != nil) || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("parseExtensions(%.60q) = %v, error = %v, want %v", tt.lines, got, err, tt.want)
			}
		})
	}
	if got, err := parseExtensions(nil); got != nil || err != nil {
		t.Errorf("parseExtensions(nil) = %v, error = %v, want nothing", got, err)
	}
	if got, err := parseExtensions([]string{strings.Repeat("a,", maxElements)}); len(got) != maxElements || err != nil {
		t.Errorf("parseExtensions of %d = %d, error = %v, want all", maxElements, len(got), err)
	}
}

// The fields of section 4.2.1 again, as regular expressions on all lines
// joined, to check the real thing by.
var (
	upgradeRE    = regexp.MustCompile(`(^|,)[ \t]*[Ww][Ee][Bb][Ss][Oo][Cc][Kk][Ee][Tt][ \t]*(,|$)`)
	connectionRE = regexp.MustCompile(`(^|,)[ \t]*[Uu][Pp][Gg][Rr][Aa][Dd][Ee][ \t]*(,|$)`)
	keyRE        = regexp.MustCompile(`^[A-Za-z0-9+/]{22}==$`)
	tokenRE      = regexp.MustCompile("[-!#$%&'*+.^_`|~0-9A-Za-z]+")
	tokensRE     = regexp.MustCompile(`^[ \t]*TOKEN[ \t]*(,[ \t]*TOKEN[ \t]*)*$`)
)

func init() {
	tokensRE = regexp.MustCompile(strings.ReplaceAll(tokensRE.String(), "TOKEN", tokenRE.String()))
}

func conforming(r *http.Request) bool {
	joined := func(name string) string { return strings.Join(r.Header[name], ",") }
	return r.Method == "GET" && r.ProtoMajor == 1 && r.ProtoMinor >= 1 &&
		r.ContentLength == 0 && r.TransferEncoding == nil &&
		upgradeRE.MatchString(joined("Upgrade")) && connectionRE.MatchString(joined("Connection")) &&
		slices.Equal(r.Header["Sec-Websocket-Version"], []string{"13"}) &&
		len(r.Header["Sec-Websocket-Key"]) == 1 && keyRE.MatchString(joined("Sec-Websocket-Key")) &&
		conformingProtocols(r.Header["Sec-Websocket-Protocol"])
}

func conformingProtocols(lines []string) bool {
	if lines == nil {
		return true
	}
	s := strings.Join(lines, ",")
	all := tokenRE.FindAllString(s, -1)
	unique := slices.Compact(slices.Sorted(slices.Values(all)))
	return tokensRE.MatchString(s) && len(unique) == len(all) && len(all) <= maxElements
}

// extensionSteps is the ABNF of section 9.1 as a state machine: from a state,
// with a class of byte, to a state. States: between elements (L), in a name
// (N), behind an element (S), before (P), in (p) and behind (e) the name of a
// parameter, before (V) and in (v) its value, at the start of (Q) and in (q)
// quotes, behind a backslash (B). Classes: token (t), space (_), and , ; = " \.
var extensionSteps = func() map[string]byte {
	m := map[string]byte{}
	for _, s := range strings.Fields(`L_L L,L LtN NtN N_S N,L N;P S_S S,L S;P P_P Ptp ptp p_e p,L p;P p=V
		e_e e,L e;P e=V V_V Vtv V"Q vtv v_S v,L v;P Qtq Q\B qtq q\B q"S Btq`) {
		m[s[:2]] = s[2]
	}
	return m
}()

func conformingExtensions(lines []string) bool {
	some := lines == nil
	for _, l := range lines {
		state := byte('L')
		for i := range len(l) {
			class := l[i]
			switch {
			case class == ' ' || class == '\t':
				class = '_'
			case tokenRE.MatchString(l[i : i+1]):
				class = 't'
				some = true
			}
			state = extensionSteps[string([]byte{state, class})]
		}
		if !strings.ContainsRune("LNSpev", rune(state)) {
			return false
		}
	}
	return some
}

// sameSite is the default origin rule again, by net/url.
func sameSite(origin, host string, tls bool) bool {
	u, err := url.Parse(origin)
	if err != nil || strings.ToLower(origin) != strings.ToLower(u.Scheme)+"://"+strings.ToLower(u.Host) || u.User != nil {
		return false
	}
	defaults := map[string]string{"https": "443"}
	if !tls {
		defaults["http"] = "80"
	}
	port, ok := defaults[u.Scheme]
	with := func(hostport string) string {
		if strings.LastIndex(hostport, ":") <= strings.LastIndex(hostport, "]") {
			hostport += ":" + port
		}
		return strings.ToLower(hostport)
	}
	return ok && u.Host != "" && with(u.Host) == with(host)
}

func FuzzUpgrade(f *testing.F) {
	for _, tt := range requestTests {
		line := tt.line
		if line == "" {
			line = getChat
		}
		f.Add([]byte(rawRequest(line, tt.edits...)))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		extensions := strings.Join(r.Header["Sec-Websocket-Extensions"], ",")
		if strings.Count(extensions, ",")+strings.Count(extensions, ";") >= maxElements {
			return // section 9.1 has no such bound
		}
		want := conforming(r) && conformingExtensions(r.Header["Sec-Websocket-Extensions"])
		origins := r.Header["Origin"]
		switch len(origins) {
		case 0:
		case 1: // what net/url takes and we refuse is refused
			if !sameSite(origins[0], r.Host, false) {
				want = false
			} else if o, ok := parseOrigin(origins[0]); !ok || !o.reaches(r.Host, false) {
				want = false
			}
		default:
			want = false
		}
		w := &scriptWriter{httptest.NewRecorder(), new(scriptConn), ""}
		c, err := (&Upgrader{Subprotocols: []string{"superchat", "chat"}}).Upgrade(w, r)
		if (err == nil) != want {
			t.Fatalf("Upgrade(%q) error = %v, want accepted = %t", raw, err, want)
		}
		if err != nil {
			var he *HandshakeError
			if !errors.As(err, &he) || he.Status != w.Code || w.Code < 400 || w.conn.ops != nil {
				t.Fatalf("Upgrade(%q) error = %v, response %d, want a *HandshakeError with that status", raw, err, w.Code)
			}
			return
		}
		defer c.CloseNow()
		checkReply(t, w.conn.wrote.Bytes(), r, c.Subprotocol())
	})
}

// checkReply checks that b is one 101 response and nothing else.
func checkReply(t *testing.T, b []byte, r *http.Request, subprotocol string) {
	t.Helper()
	br := bufio.NewReader(bytes.NewReader(b))
	resp, err := http.ReadResponse(br, r)
	if err != nil || br.Buffered() != 0 {
		t.Fatalf("reply %q, error = %v, want one response", b, err)
	}
	want := http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
		"Sec-Websocket-Accept": {AcceptKey(r.Header.Get("Sec-WebSocket-Key"))},
	}
	if subprotocol != "" {
		want["Sec-Websocket-Protocol"] = []string{subprotocol}
		if !slices.Contains([]string{"superchat", "chat"}, subprotocol) || !strings.Contains(strings.Join(r.Header["Sec-Websocket-Protocol"], ","), subprotocol) {
			t.Errorf("subprotocol %q, want one that was offered", subprotocol)
		}
	}
	if resp.StatusCode != 101 || !reflect.DeepEqual(resp.Header, want) {
		t.Errorf("reply %q, want 101 with %v", b, want)
	}
}

func FuzzHeaderTokens(f *testing.F) {
	f.Add("keep-alive, Upgrade", "upgrade")
	f.Add("websoc\u212Aet", "websocket")
	f.Add(" a ,\tb,,a", "a")
	f.Add("a,b\r\nInjected: c", "c")
	f.Fuzz(func(t *testing.T, line, token string) {
		n := 0
		for _, s := range strings.Split(line, ",") {
			s = spacesRE.ReplaceAllString(s, "")
			if s != "" && string(bytes.Map(asciiLower, []byte(s))) == token {
				n++
			}
		}
		if got := countToken([]string{line}, token); token != "" && got != n {
			t.Errorf("countToken(%q, %q) = %d, want %d", line, token, got, n)
		}
		list, err := parseSubprotocols([]string{line})
		if want := conformingProtocols([]string{line}); (err == nil) != want {
			t.Fatalf("parseSubprotocols(%q) error = %v, want accepted = %t", line, err, want)
		}
		again, err2 := parseSubprotocols([]string{strings.Join(list, ",")})
		if err == nil && (err2 != nil || !slices.Equal(list, again)) {
			t.Errorf("parseSubprotocols(%q) = %q, which parses to %q, error = %v", line, list, again, err2)
		}
		if strings.ContainsAny(strings.Join(list, ""), "\r\n\x00, ") {
			t.Errorf("parseSubprotocols(%q) = %q, want no separators and no control bytes", line, list)
		}
	})
}

var spacesRE = regexp.MustCompile(`^[ \t]+|[ \t]+$`)

func asciiLower(r rune) rune {
	if strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZ", r) {
		return r | 0x20
	}
	return r
}

// formatExtensions writes list as a line of Sec-WebSocket-Extensions.
func formatExtensions(list []extension) string {
	var b strings.Builder
	for i, e := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(e.name)
		for _, p := range e.params {
			b.WriteString("; " + p.name)
			if p.value != "" {
				b.WriteString("=" + p.value)
			}
		}
	}
	return b.String()
}

func FuzzExtensions(f *testing.F) {
	for _, tt := range extensionTests {
		f.Add(strings.Join(tt.lines, ","))
	}
	f.Fuzz(func(t *testing.T, line string) {
		list, err := parseExtensions([]string{line})
		if n := strings.Count(line, ",") + strings.Count(line, ";"); n < maxElements && (err == nil) != conformingExtensions([]string{line}) {
			t.Fatalf("parseExtensions(%q) = %v, error = %v, want accepted = %t", line, list, err, err != nil)
		}
		if err != nil {
			if list != nil {
				t.Errorf("parseExtensions(%q) = %v beside error %v, want nil", line, list, err)
			}
			return
		}
		s := formatExtensions(list)
		if again, err := parseExtensions([]string{s}); err != nil || !reflect.DeepEqual(list, again) {
			t.Errorf("parseExtensions(%q) = %v, error = %v, want %v", s, again, err, list)
		}
		if strings.ContainsAny(s, "\r\n\x00\"\\") {
			t.Errorf("parseExtensions(%q) came to %q, want no control bytes and no quotes", line, s)
		}
	})
}

var wildcardRE = regexp.MustCompile(`^[Hh][Tt][Tt][Pp][Ss]://[-_0-9A-Za-z]+\.[Ee][Xx][Aa][Mm][Pp][Ll][Ee](:443)?$`)

func FuzzOrigin(f *testing.F) {
	for _, tt := range originTests {
		f.Add(tt.origin, tt.host, tt.tls)
	}
	f.Fuzz(func(t *testing.T, from, host string, tls bool) {
		o, ok := parseOrigin(from)
		if got := ok && o.reaches(host, tls); got && !sameSite(from, host, tls) {
			t.Errorf("origin %q reaches %q with tls=%t, want not", from, host, tls)
		}
		if allowed, err := o.among([]string{"https://*.example"}); err != nil || ok && allowed &&
			!wildcardRE.MatchString(from) {
			t.Errorf("origin %q is let in by https://*.example, error = %v, want not", from, err)
		}
	})
}

// TestKeys_random pins the form of the keys that Dial makes: 16 random bytes
// in base64, and no two alike.
func TestKeys_random(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		a, h := new(attempt), http.Header{}
		a.setKey(h)
		b, err := base64.StdEncoding.Strict().DecodeString(a.key)
		if err != nil || len(b) != 16 || len(a.key) != 24 || h.Get("Sec-WebSocket-Key") != a.key || seen[a.key] {
			t.Fatalf("key %q (seen: %t), error = %v, want 16 bytes in base64, once", a.key, seen[a.key], err)
		}
		seen[a.key] = true
	}
}
