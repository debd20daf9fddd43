package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// goodReply answers the request with the key, with edits as in editFields.
func goodReply(key string, edits ...string) string {
	lines := editFields([]string{
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Accept: " + AcceptKey(key),
	}, edits...)
	return "HTTP/1.1 101 Switching Protocols\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// A replyServer lets a function answer each request on a raw connection, and
// then reads what comes until the client has closed it.
type replyServer struct {
	url  string // ws://…
	addr string
	got  chan *http.Request // as they came
	rest chan []byte        // what came behind the request, when the client has closed
}

// serveReplies starts a replyServer. Its cleanup waits until every connection
// has been closed by the client.
func serveReplies(t *testing.T, reply func(nc net.Conn, r *http.Request)) *replyServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("net.Listen error = %v", err)
	}
	s := &replyServer{
		url: "ws://" + l.Addr().String(), addr: l.Addr().String(),
		got: make(chan *http.Request, 100), rest: make(chan []byte, 100),
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.serve(nc, reply) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return s
}

func (s *replyServer) serve(nc net.Conn, reply func(net.Conn, *http.Request)) {
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(hangGuard))
	br := bufio.NewReader(nc)
	r, err := http.ReadRequest(br)
	if err != nil {
		return
	}
	s.got <- r
	reply(nc, r)
	rest, _ := io.ReadAll(br)
	s.rest <- rest
}

func reply(f func(key string) string) func(net.Conn, *http.Request) {
	return func(nc net.Conn, r *http.Request) { io.WriteString(nc, f(r.Header.Get("Sec-WebSocket-Key"))) }
}

// newClient returns a Client of its own, whose idle connections end with the
// test.
func newClient(t *testing.T, setup func(*http.Transport)) *http.Client {
	t.Helper()
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.Proxy = nil
	if setup != nil {
		setup(tr)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// checkDialError checks what a failed Dial returned.
func checkDialError(t *testing.T, c *Conn, resp *http.Response, err error, status int, say string) *HandshakeError {
	t.Helper()
	var he *HandshakeError
	if !errors.As(err, &he) || c != nil {
		t.Fatalf("Dial = %v, error = %v, want nil and a *HandshakeError", c, err)
	}
	if he.Status != status || !strings.Contains(err.Error(), say) {
		t.Errorf("Dial error = %v (status %d), want status %d and %q in it", err, he.Status, status, say)
	}
	if he.Response != resp || (resp != nil) != (status != 0) {
		t.Errorf("Dial response %v, in the error %v, want the same, and one only with a status", resp, he.Response)
	}
	if resp != nil {
		if b, err := io.ReadAll(resp.Body); err != nil || len(b) > maxRefusal {
			t.Errorf("Response.Body has %d bytes, error = %v, want %d at most", len(b), err, maxRefusal)
		}
	}
	if n := len(err.Error()); n > 1000 {
		t.Errorf("Dial error has %d bytes, want a short one: %.100q", n, err)
	}
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7F }) {
		t.Errorf("Dial error = %q, want no control bytes", err)
	}
	return he
}

func TestDial(t *testing.T) {
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	s := serveUpgrades(t, &Upgrader{Header: http.Header{"X-A": {"1"}}}, nil)
	for _, scheme := range []string{"ws", "http", "WS"} {
		t.Run(scheme, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.WithValue(t.Context(), ctxKey{}, "value"))
			c, resp, err := Dial(ctx, scheme+"://"+s.Listener.Addr().String()+"/path?query")
			if err != nil {
				t.Fatalf("Dial error = %v", err)
			}
			defer c.CloseNow()
			cancel() // means nothing to the connection
			if resp.StatusCode != 101 || resp.Header.Get("X-A") != "1" || resp.Body != http.NoBody {
				t.Errorf("Dial response %v with body %v, want 101 with X-A and http.NoBody", resp, resp.Body)
			}
			wantEcho(t, c)
			if got := c.RemoteAddr().String(); got != s.Listener.Addr().String() {
				t.Errorf("RemoteAddr() = %s, want %s", got, s.Listener.Addr())
			}
			if _, ok := c.NetConn().(*net.TCPConn); !ok {
				t.Errorf("NetConn() is a %T, want a *net.TCPConn", c.NetConn())
			}
			if got := c.Context().Value(ctxKey{}); got != "value" || c.Context().Err() != nil {
				t.Errorf("Context() holds %v, error = %v, want the value and no end", got, c.Context().Err())
			}
		})
	}
}

type ctxKey struct{}

// wantEcho sends a message to an echo server and reads it back.
func wantEcho(t *testing.T, c *Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hangGuard)
	defer cancel()
	if err := c.WriteText(ctx, "hello"); err != nil {
		t.Fatalf("WriteText error = %v", err)
	}
	wantMessage(t, c, "hello")
}

func wantMessage(t *testing.T, c *Conn, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hangGuard)
	defer cancel()
	op, p, err := c.ReadMessage(ctx)
	if err != nil || op != OpText || string(p) != want {
		t.Fatalf("ReadMessage = %v %.40q, error = %v, want text %.40q", op, p, err, want)
	}
}

func TestDial_request(t *testing.T) {
	s := serveReplies(t, reply(func(key string) string { return goodReply(key, "Sec-WebSocket-Protocol: b") }))
	d := &Dialer{
		Client:       newClient(t, nil),
		Header:       http.Header{"host": {"other.example"}, "Origin": {"https://app.example"}, "X-A": {"1", "2"}, "Cookie": {"a=b"}},
		Subprotocols: []string{"a", "b"},
	}
	before := fmt.Sprintf("%+v", d)
	c, _, err := d.Dial(t.Context(), strings.Replace(s.url, "ws://", "ws://user:p%40ss@", 1)+"/a%2Fb?q=1")
	if err != nil {
		t.Fatalf("Dial error = %v", err)
	}
	defer c.CloseNow()
	if c.Subprotocol() != "b" {
		t.Errorf("Subprotocol() = %q, want b", c.Subprotocol())
	}
	r := <-s.got
	if r.Method != "GET" || r.Proto != "HTTP/1.1" || r.RequestURI != "/a%2Fb?q=1" || r.Host != "other.example" {
		t.Errorf("request %s %s %s with Host %s, want GET /a%%2Fb?q=1 HTTP/1.1 with other.example", r.Method, r.RequestURI, r.Proto, r.Host)
	}
	if user, password, ok := r.BasicAuth(); !ok || user != "user" || password != "p@ss" {
		t.Errorf("BasicAuth() = %q, %q, %t, want user, p@ss", user, password, ok)
	}
	want := http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Protocol": {"a, b"}, "Origin": {"https://app.example"}, "X-A": {"1", "2"}, "Cookie": {"a=b"},
	}
	for name, v := range want {
		if got := r.Header[name]; !slices.Equal(got, v) {
			t.Errorf("request has %s: %q, want %q", name, got, v)
		}
	}
	if !conforming(r) {
		t.Errorf("request %v does not conform to section 4.2.1", r.Header)
	}
	if got := fmt.Sprintf("%+v", d); got != before {
		t.Errorf("Dialer = %s after use, want %s", got, before)
	}
}

func TestDial_D10_URLs(t *testing.T) {
	client := newClient(t, func(tr *http.Transport) {
		tr.DialContext = func(_ context.Context, _, addr string) (net.Conn, error) {
			t.Errorf("dialled %s, want an error before", addr)
			return nil, errScript
		}
	})
	for _, tt := range []struct{ url, say string }{
		{"ws://host/#fragment", "fragment"},
		{"ws://host/#", "fragment"},
		{"ws://host/a b", "space"},
		{"ws://ho st/", "invalid character"},
		{"ws://user:sec%ret@host/", "cannot be parsed"},
		{" ws://host/", "first path segment"},
		{"ws://host/\x00", "control character"},
		{"ws://host\r\nInjected: 1", "control character"},
		{"ws:///path", "no host"},
		{"ws://:80/", "no host"},
		{"ws:host", "no host"},
		{"/path", "no host"},
		{"", "no host"},
		{"host:80", "no host"},
		{"ws://host:0/", "port"},
		{"ws://host:65536/", "port"},
		{"ws://host:-1/", "invalid port"},
		{"ws://host:http/", "invalid port"},
		{"ftp://host/", "scheme"},
		{"//host/", "scheme"},
		{"wss2://host/" + strings.Repeat("a", 1000), "scheme"},
		{"ws://[::1", "missing ']'"},
	} {
		t.Run(fmt.Sprintf("D10 %.30q", tt.url), func(t *testing.T) {
			c, resp, err := (&Dialer{Client: client}).Dial(t.Context(), tt.url)
			checkDialError(t, c, resp, err, 0, tt.say)
			if strings.Contains(err.Error(), "sec%ret") {
				t.Errorf("Dial error = %v, want no password in it", err)
			}
		})
	}
}

func TestDial_settings(t *testing.T) {
	field := func(name string, values ...string) http.Header { return http.Header{name: values} }
	for _, tt := range []struct {
		name string
		d    Dialer
		say  string
	}{
		{"CR LF in a value", Dialer{Header: field("X-A", "a\r\nInjected: 1")}, "0x0d"},
		{"NUL in a value", Dialer{Header: field("X-A", "a\x00")}, "0x00"},
		{"CR LF in Host", Dialer{Header: field("Host", "a\r\nInjected: 1")}, "0x0d"},
		{"two Hosts", Dialer{Header: http.Header{"Host": {"a"}, "host": {"b"}}}, "Host 2 times"},
		{"bad name", Dialer{Header: field("X A", "1")}, "not a token"},
		{"owned: Upgrade", Dialer{Header: field("Upgrade", "h2c")}, "handshake sets"},
		{"owned: Connection", Dialer{Header: field("connection", "close")}, "handshake sets"},
		{"owned: key", Dialer{Header: field("Sec-WebSocket-Key", sampleKey)}, "handshake sets"},
		{"owned: extensions", Dialer{Header: field("Sec-WebSocket-Extensions", "x")}, "handshake sets"},
		{"owned: Content-Length", Dialer{Header: field("Content-Length", "1")}, "handshake sets"},
		{"subprotocol", Dialer{Subprotocols: []string{"a\r\nInjected: 1"}}, "not a token"},
		{"subprotocol twice", Dialer{Subprotocols: []string{"a", "a"}}, "twice"},
		{"compression", Dialer{Options: Options{Compression: &Compression{WriteWindowBits: 7}}}, "Compression"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.d.Client = newClient(t, func(tr *http.Transport) {
				tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
					t.Error("dialled, want an error before")
					return nil, errScript
				}
			})
			c, resp, err := tt.d.Dial(t.Context(), "ws://host/")
			checkDialError(t, c, resp, err, 0, tt.say)
		})
	}
}

// replyTests are replies to a Dial that offers the subprotocols chat and
// superchat, and what the error says; "" for those to be accepted.
var replyTests = []struct {
	name  string
	edits []string
	say   string
}{
	{"RFC sample", nil, ""},
	{"any case", []string{"upgrade: WebSocket", "connection: keep-alive, UPGRADE"}, ""},
	{"Connection on two lines", []string{"Connection: keep-alive", "+Connection: Upgrade"}, ""},
	{"offered subprotocol", []string{"Sec-WebSocket-Protocol: superchat"}, ""},
	{"field of a draft", []string{"Sec-WebSocket-Location: ws://x/"}, ""},
	{"spaces around", []string{"Upgrade:  \twebsocket\t "}, ""},

	{"D2 no Upgrade", []string{"-Upgrade"}, "Upgrade"},
	{"D2 empty Upgrade", []string{"Upgrade:"}, "Upgrade"},
	{"D2 wrong Upgrade", []string{"Upgrade: websockets"}, "Upgrade"},
	{"D2 Upgrade list", []string{"Upgrade: websocket, h2c"}, "Upgrade"},
	{"D2 Upgrade twice", []string{"+Upgrade: websocket"}, "Upgrade"},
	{"D2 Kelvin sign", []string{"Upgrade: websoc\u212Aet"}, "Upgrade"},
	{"D2 no Connection", []string{"-Connection"}, "Connection"},
	{"D2 wrong Connection", []string{"Connection: upgraded"}, "Connection"},
	{"D2 Connection keep-alive", []string{"Connection: keep-alive"}, "Connection"},
	{"D2 Connection close", []string{"Connection: close"}, "Connection"},
	{"D2 Connection twice", []string{"+Connection: Upgrade"}, "Connection"},

	{"D3 no Accept", []string{"-Sec-WebSocket-Accept"}, "Sec-WebSocket-Accept"},
	{"D3 empty Accept", []string{"Sec-WebSocket-Accept:"}, "Sec-WebSocket-Accept"},
	{"D3 Accept of another key", []string{"Sec-WebSocket-Accept: " + sampleAccept}, "Sec-WebSocket-Accept"},
	{"D3 random Accept", []string{"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="}, "Sec-WebSocket-Accept"},
	{"D3 Accept twice", []string{"+Sec-WebSocket-Accept: KEY"}, "Sec-WebSocket-Accept"},
	{"D3 key echoed", []string{"Sec-WebSocket-Accept: KEY"}, "Sec-WebSocket-Accept"},
	{"D3 key and GUID", []string{"Sec-WebSocket-Accept: KEY" + acceptGUID}, "Sec-WebSocket-Accept"},

	{"D4 extension", []string{"Sec-WebSocket-Extensions: permessage-deflate"}, "Sec-WebSocket-Extensions"},
	{"D4 extension twice", []string{"+Sec-WebSocket-Extensions: x", "+Sec-WebSocket-Extensions: x"}, "Sec-WebSocket-Extensions"},
	{"D4 empty extensions", []string{"Sec-WebSocket-Extensions:"}, "Sec-WebSocket-Extensions"},
	{"D4 window bits 0", []string{"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=0"}, "Sec-WebSocket-Extensions"},
	{"D4 window bits 999", []string{"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=999"}, "Sec-WebSocket-Extensions"},
	{"D4 window bits +9", []string{`Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits="+9"`}, "Sec-WebSocket-Extensions"},

	{"D5 subprotocol not offered", []string{"Sec-WebSocket-Protocol: other"}, "Sec-WebSocket-Protocol"},
	{"D5 subprotocol in another case", []string{"Sec-WebSocket-Protocol: Chat"}, "Sec-WebSocket-Protocol"},
	{"D5 two subprotocols", []string{"Sec-WebSocket-Protocol: chat, superchat"}, "Sec-WebSocket-Protocol"},
	{"D5 two subprotocol lines", []string{"+Sec-WebSocket-Protocol: chat", "+Sec-WebSocket-Protocol: superchat"}, "Sec-WebSocket-Protocol"},
	{"D5 empty subprotocol", []string{"Sec-WebSocket-Protocol:"}, "Sec-WebSocket-Protocol"},
}

func replyEdits(edits []string, key string) []string {
	edits = slices.Clone(edits)
	for i := range edits {
		edits[i] = strings.ReplaceAll(edits[i], "KEY", key)
	}
	return edits
}

func TestDial_replies(t *testing.T) {
	for _, tt := range replyTests {
		for _, write := range []struct {
			name string
			to   func(io.Writer, string)
		}{{"whole", writeWhole}, {"byte by byte", writeBytes}} {
			t.Run(tt.name+"/"+write.name, func(t *testing.T) {
				s := serveReplies(t, func(nc net.Conn, r *http.Request) {
					key := r.Header.Get("Sec-WebSocket-Key")
					write.to(nc, goodReply(key, replyEdits(tt.edits, key)...))
				})
				d := &Dialer{Client: newClient(t, nil), Subprotocols: []string{"chat", "superchat"}}
				c, resp, err := d.Dial(t.Context(), s.url)
				if tt.say != "" {
					checkDialError(t, c, resp, err, 101, tt.say)
					if rest := <-s.rest; len(rest) != 0 {
						t.Errorf("client sent %q on a refused connection, want nothing", rest)
					}
					return
				}
				if err != nil {
					t.Fatalf("Dial error = %v, want nil", err)
				}
				defer c.CloseNow()
				if got := resp.Header.Get("Sec-WebSocket-Protocol"); c.Subprotocol() != got {
					t.Errorf("Subprotocol() = %q, want %q", c.Subprotocol(), got)
				}
			})
		}
	}
}

func TestDial_D5_noneOffered(t *testing.T) {
	s := serveReplies(t, reply(func(key string) string { return goodReply(key, "Sec-WebSocket-Protocol: chat") }))
	c, resp, err := (&Dialer{Client: newClient(t, nil)}).Dial(t.Context(), s.url)
	checkDialError(t, c, resp, err, 101, "Sec-WebSocket-Protocol")
}

func TestDial_D1_statuses(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 200)
	for _, tt := range []struct {
		name string
		head string // status line and fields
		body string
		want string // what is kept
	}{
		{"D1 200", "HTTP/1.1 200 OK\r\nContent-Length: 3200", body, body[:1024]},
		{"D1 200 with the fields of a 101", "HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2", "ok", "ok"},
		{"D1 301 without Location", "HTTP/1.1 301 Moved\r\nContent-Length: 4", "gone", "gone"},
		{"D1 401", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 5", "login", "login"},
		{"D1 404 chunked", "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n", "abc"},
		{"D1 500 until the end", "HTTP/1.1 500 Broken\r\nConnection: close\r\nContent-Length: 2000", body[:2000], body[:1024]},
		{"D1 426", "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0", "", ""},
		{"D1 204", "HTTP/1.1 204 No Content", "", ""},
		{"D1 status 999", "HTTP/1.1 999 " + body[:500] + "\r\nContent-Length: 1", "x", "x"},
		{"D1 control bytes", "HTTP/1.1 403 a\x01b\r\nContent-Length: 3", "\x00\r\n", "\x00\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serveReplies(t, reply(func(string) string { return tt.head + "\r\n\r\n" + tt.body }))
			d := &Dialer{Client: newClient(t, nil)}
			c, resp, err := d.Dial(t.Context(), s.url)
			d.Client.CloseIdleConnections() // where a connection goes whose response was read to its end
			status := 0
			fmt.Sscanf(tt.head, "HTTP/1.1 %d", &status)
			var he *HandshakeError
			if !errors.As(err, &he) || he.Response == nil {
				t.Fatalf("Dial error = %v, want a *HandshakeError with a response", err)
			}
			if got := bodyText(t, he.Response); got != tt.want {
				t.Errorf("Response.Body = %q, want %q", got, tt.want)
			}
			checkDialError(t, c, resp, err, status, "101")
			if got, want := strings.Contains(err.Error(), "with body"), tt.want != ""; got != want || !strings.Contains(err.Error(), tt.want[:min(len(tt.want), 2)]) && tt.want[0] > ' ' {
				t.Errorf("Dial error = %v, want the start of body %.10q in it", err, tt.want)
			}
			if rest := <-s.rest; len(rest) != 0 {
				t.Errorf("client sent %q behind its request, want nothing", rest)
			}
		})
	}
}

// TestDial_D1_bodyWithoutEnd reads a refusal whose body never ends: too much
// of it, and too slowly.
func TestDial_D1_bodyWithoutEnd(t *testing.T) {
	t.Run("endless", func(t *testing.T) {
		s := serveReplies(t, func(nc net.Conn, _ *http.Request) {
			_, err := io.WriteString(nc, "HTTP/1.1 403 Forbidden\r\n\r\n")
			for err == nil {
				_, err = nc.Write(make([]byte, 1<<16))
			}
		})
		c, resp, err := (&Dialer{Client: newClient(t, nil)}).Dial(t.Context(), s.url)
		checkDialError(t, c, resp, err, 403, "101")
	})
	t.Run("stalled", func(t *testing.T) {
		s := serveReplies(t, reply(func(string) string { return "HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nabc" }))
		ctx, cancel := context.WithCancel(t.Context())
		d := &Dialer{Client: newClient(t, nil)}
		d.Client.Transport = cancelInBody{d.Client.Transport, cancel}
		c, resp, err := d.Dial(ctx, s.url)
		he := checkDialError(t, c, resp, err, 403, "101")
		if !errors.Is(he, context.Canceled) {
			t.Errorf("Dial error = %v, want context.Canceled in it", err)
		}
	})
}

// cancelInBody calls cancel when the first bytes of a body have been read.
type cancelInBody struct {
	http.RoundTripper
	cancel context.CancelFunc
}

func (c cancelInBody) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(resp.Body, writerFunc(func(p []byte) { c.cancel() })), resp.Body}
	}
	return resp, err
}

type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

func TestDial_D6_endless(t *testing.T) {
	flood := func(start, unit string) func(net.Conn, *http.Request) {
		return func(nc net.Conn, _ *http.Request) {
			_, err := io.WriteString(nc, start)
			for b := bytes.Repeat([]byte(unit), 1<<16/len(unit)); err == nil; {
				_, err = nc.Write(b)
			}
		}
	}
	for _, tt := range []struct{ name, start, unit string }{
		{"D6 endless fields", "HTTP/1.1 101 Switching Protocols\r\n", "X-Field: 0123456789abcdef\r\n"},
		{"D6 one endless field", "HTTP/1.1 101 Switching Protocols\r\nX-Field: ", "0123456789abcdef"},
		{"D6 garbage", "", "\x81\x05hello"},
		{"D6 endless status line", "HTTP/1.1 101 ", "x"},
		{"D6 endless 100s", "", "HTTP/1.1 100 Continue\r\n\r\n"},
		{"D6 TLS where none is", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serveReplies(t, flood(tt.start, tt.unit))
			c, resp, err := (&Dialer{Client: newClient(t, nil)}).Dial(t.Context(), s.url)
			checkDialError(t, c, resp, err, 0, "")
		})
	}
}

func TestDial_D7_framesBehind(t *testing.T) {
	frame := func(s string) string {
		return string(AppendHeader(nil, Header{Fin: true, Opcode: OpText, Length: int64(len(s))})) + s
	}
	big := strings.Repeat("0123456789abcdef", 2000)
	for _, tt := range []struct {
		name     string
		messages []string
		buffer   int // Transport.ReadBufferSize
	}{
		{"D7 one frame", []string{"abc"}, 0},
		{"D7 many frames", slices.Repeat([]string{"abc"}, 3000), 0},
		{"D7 more than a buffer", []string{"abc", big, "def"}, 0},
		{"D7 big buffer", []string{"abc", big, "def"}, 1 << 20},
		{"D7 small buffer", []string{"abc", big, "def"}, 1},
	} {
		var wire strings.Builder
		for _, m := range tt.messages {
			wire.WriteString(frame(m))
		}
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s TLS=%t", tt.name, secure), func(t *testing.T) {
				s := serveHijacked(t, secure, func(nc net.Conn, r *http.Request) {
					io.WriteString(nc, goodReply(r.Header.Get("Sec-WebSocket-Key"))+wire.String())
				})
				d := &Dialer{Client: newClient(t, func(tr *http.Transport) {
					tr.ReadBufferSize = tt.buffer
					tr.TLSClientConfig = clientTLS(s)
				})}
				c, _, err := d.Dial(t.Context(), s.URL)
				if err != nil {
					t.Fatalf("Dial error = %v", err)
				}
				defer c.CloseNow()
				for _, m := range tt.messages {
					wantMessage(t, c, m)
				}
				if _, ok := c.NetConn().(*tls.Conn); ok != secure {
					t.Errorf("NetConn() is a %T with TLS=%t", c.NetConn(), secure)
				}
			})
		}
	}
}

// serveHijacked starts a server that gives every connection to f, and reads
// it until the client has closed it.
func serveHijacked(t *testing.T, secure bool, f func(net.Conn, *http.Request)) *httptest.Server {
	t.Helper()
	var wg sync.WaitGroup
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("Hijack error = %v", err)
			return
		}
		wg.Go(func() {
			defer nc.Close()
			f(nc, r)
			io.Copy(io.Discard, rw)
		})
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() {
		s.Close()
		wg.Wait()
	})
	return s
}

// clientTLS trusts s, if it has TLS.
func clientTLS(s *httptest.Server) *tls.Config {
	if s.Certificate() == nil {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{RootCAs: pool}
}

// TestDial_D7_closeNotify ends the TLS stream behind the 101.
func TestDial_D7_closeNotify(t *testing.T) {
	s := serveHijacked(t, true, func(nc net.Conn, r *http.Request) {
		io.WriteString(nc, goodReply(r.Header.Get("Sec-WebSocket-Key")))
		nc.(*tls.Conn).CloseWrite()
	})
	d := &Dialer{Client: newClient(t, func(tr *http.Transport) { tr.TLSClientConfig = clientTLS(s) })}
	c, _, err := d.Dial(t.Context(), strings.Replace(s.URL, "https", "wss", 1))
	if err != nil {
		t.Fatalf("Dial error = %v", err)
	}
	defer c.CloseNow()
	var ce *CloseError
	if _, _, err := c.ReadMessage(t.Context()); !errors.As(err, &ce) || ce.Code != StatusAbnormalClosure {
		t.Errorf("ReadMessage error = %v, want a *CloseError with 1006", err)
	}
}

func TestDial_D8_noAnswer(t *testing.T) {
	t.Run("D8 closes before it answers", func(t *testing.T) {
		s := serveReplies(t, func(nc net.Conn, _ *http.Request) { nc.(*net.TCPConn).CloseWrite() })
		c, resp, err := (&Dialer{Client: newClient(t, nil)}).Dial(t.Context(), s.url)
		checkDialError(t, c, resp, err, 0, "EOF")
		if !errors.Is(err, io.EOF) {
			t.Errorf("Dial error = %v, want io.EOF in it", err)
		}
	})
	t.Run("D8 nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		c, resp, err := (&Dialer{Client: newClient(t, nil)}).Dial(t.Context(), "ws://"+l.Addr().String())
		checkDialError(t, c, resp, err, 0, "connect")
		var oe *net.OpError
		if !errors.As(err, &oe) {
			t.Errorf("Dial error = %v, want a *net.OpError in it", err)
		}
	})
	t.Run("D8 ctx cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		s := serveReplies(t, func(net.Conn, *http.Request) { cancel(errScript) })
		c, resp, err := (&Dialer{Client: newClient(t, nil)}).Dial(ctx, s.url)
		checkDialError(t, c, resp, err, 0, "")
		if !errors.Is(err, context.Canceled) || !errors.Is(err, errScript) {
			t.Errorf("Dial error = %v, want context.Canceled and the cause in it", err)
		}
	})
	t.Run("D8 ctx cancelled before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c, resp, err := (&Dialer{Client: newClient(t, nil)}).Dial(ctx, "ws://127.0.0.1:1")
		checkDialError(t, c, resp, err, 0, "")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Dial error = %v, want context.Canceled in it", err)
		}
	})
	silent := func(net.Conn, *http.Request) {}
	for _, tt := range []struct {
		name string
		d    Dialer
	}{
		{"D8 HandshakeTimeout", Dialer{HandshakeTimeout: time.Millisecond, Client: newClient(t, nil)}},
		{"D8 Client.Timeout", Dialer{HandshakeTimeout: time.Hour, Client: &http.Client{Timeout: time.Millisecond, Transport: newClient(t, nil).Transport}}},
		{"D8 Client.Timeout alone", Dialer{HandshakeTimeout: -1, Client: &http.Client{Timeout: time.Millisecond, Transport: newClient(t, nil).Transport}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serveReplies(t, silent)
			before := tt.d
			c, resp, err := tt.d.Dial(t.Context(), s.url)
			checkDialError(t, c, resp, err, 0, "")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Dial error = %v, want context.DeadlineExceeded in it", err)
			}
			if !reflect.DeepEqual(tt.d, before) {
				t.Errorf("Dialer changed to %+v, want %+v", tt.d, before)
			}
		})
	}
}

// TestDialer_bound checks which timeout is in force.
func TestDialer_bound(t *testing.T) {
	client := func(d time.Duration) *http.Client { return &http.Client{Timeout: d} }
	for _, tt := range []struct {
		d    Dialer
		want time.Duration // about; 0: none
	}{
		{Dialer{}, 30 * time.Second},
		{Dialer{Client: client(0)}, 30 * time.Second},
		{Dialer{Client: client(10 * time.Second)}, 10 * time.Second},
		{Dialer{Client: client(time.Hour)}, 30 * time.Second},
		{Dialer{HandshakeTimeout: 2 * time.Hour, Client: client(time.Hour)}, time.Hour},
		{Dialer{HandshakeTimeout: -1, Client: client(time.Hour)}, time.Hour},
		{Dialer{HandshakeTimeout: -1}, 0},
	} {
		before := time.Now()
		ctx, cancel := tt.d.bound(context.Background())
		end, ok := ctx.Deadline()
		cancel()
		if ok != (tt.want != 0) || ok && (end.Before(before.Add(tt.want)) || end.After(time.Now().Add(tt.want))) {
			t.Errorf("bound of %v and %+v ends at %v (%t), want %v after %v", tt.d.HandshakeTimeout, tt.d.Client, end, ok, tt.want, before)
		}
	}
}

// TestDial_ctxAfter dials with a Client that has a Timeout and a context that
// ends, and uses the connection after both.
func TestDial_ctxAfter(t *testing.T) {
	s := serveUpgrades(t, new(Upgrader), nil)
	client := newClient(t, nil)
	client.Timeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	c, _, err := (&Dialer{Client: client}).Dial(ctx, s.URL)
	if err != nil {
		t.Fatalf("Dial error = %v", err)
	}
	defer c.CloseNow()
	cancel()
	client.CloseIdleConnections()
	wantEcho(t, c)
}

// hosts returns a Client for which the named hosts have the given addresses.
func hosts(t *testing.T, addrs map[string]string, config *tls.Config) *http.Client {
	return newClient(t, func(tr *http.Transport) {
		tr.TLSClientConfig = config
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			to, ok := addrs[addr]
			if !ok {
				return nil, fmt.Errorf("no host %s in this test", addr)
			}
			return new(net.Dialer).DialContext(ctx, network, to)
		}
	})
}

// redirectTo answers every request with a redirect.
func redirectTo(status int, location string) func(net.Conn, *http.Request) {
	return reply(func(string) string {
		return fmt.Sprintf("HTTP/1.1 %d Redirect\r\nLocation: %s\r\nConnection: close\r\nContent-Length: 4\r\n\r\ngone", status, location)
	})
}

func TestDial_D9_otherHost(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprintf("D9 %d to another host", status), func(t *testing.T) {
			a := serveReplies(t, redirectTo(status, "ws://b.example/next"))
			b := serveReplies(t, reply(func(key string) string { return goodReply(key, "Sec-WebSocket-Protocol: chat") }))
			d := &Dialer{
				Client:       hosts(t, map[string]string{"a.example:80": a.addr, "b.example:80": b.addr}, nil),
				Header:       http.Header{"Authorization": {"secret"}, "Cookie": {"secret=1"}, "X-A": {"1"}, "Origin": {"https://app.example"}},
				Subprotocols: []string{"chat"},
			}
			c, _, err := d.Dial(t.Context(), "ws://a.example/first?token=secret")
			if err != nil {
				t.Fatalf("Dial error = %v", err)
			}
			defer c.CloseNow()
			d.Client.CloseIdleConnections()
			first, next := <-a.got, <-b.got
			if !conforming(first) || !conforming(next) {
				t.Errorf("requests %v and %v, want both to conform to section 4.2.1", first.Header, next.Header)
			}
			for _, name := range []string{"Authorization", "Cookie", "Referer"} {
				if got := next.Header.Values(name); len(got) != 0 {
					t.Errorf("request to the other host has %s: %q, want none", name, got)
				}
			}
			if first.Header.Get("Authorization") == "" || next.Header.Get("X-A") == "" || next.Header.Get("Origin") == "" ||
				next.Header.Get("Sec-WebSocket-Protocol") != "chat" {
				t.Errorf("requests %v and %v, want the rest of the header in both", first.Header, next.Header)
			}
			if k := next.Header.Get("Sec-WebSocket-Key"); k == first.Header.Get("Sec-WebSocket-Key") {
				t.Errorf("key %q in both requests, want a fresh one in each", k)
			}
			if next.Host != "b.example" || next.URL.Path != "/next" || c.Subprotocol() != "chat" {
				t.Errorf("request to %s%s, subprotocol %q, want b.example/next with chat", next.Host, next.URL, c.Subprotocol())
			}
		})
	}
}

func TestDial_redirect_sameHost(t *testing.T) {
	s := serveReplies(t, func(nc net.Conn, r *http.Request) {
		if r.URL.Path == "/first" {
			redirectTo(302, "/next")(nc, r)
			return
		}
		reply(func(key string) string { return goodReply(key) })(nc, r)
	})
	d := &Dialer{
		Client: newClient(t, nil),
		Header: http.Header{"Cookie": {"a=1"}, "Referer": {"http://mine/"}, "Host": {"my.example"}},
	}
	c, _, err := d.Dial(t.Context(), strings.Replace(s.url, "://", "://user:pw@", 1)+"/first")
	if err != nil {
		t.Fatalf("Dial error = %v", err)
	}
	defer c.CloseNow()
	d.Client.CloseIdleConnections()
	<-s.got
	next := <-s.got
	_, password, _ := next.BasicAuth()
	if next.Host != "my.example" || next.Header.Get("Cookie") != "a=1" || next.Header.Get("Referer") != "http://mine/" || password != "pw" {
		t.Errorf("request to %s with %v, want Host, Cookie, Referer and password kept", next.Host, next.Header)
	}
}

// TestDial_D9_downgrade redirects a secure request to plain ones.
func TestDial_D9_downgrade(t *testing.T) {
	plain := serveReplies(t, func(_ net.Conn, r *http.Request) {
		t.Errorf("request %s came without TLS, want none", r.RequestURI)
	})
	for _, location := range []string{"ws://plain.example/", "http://plain.example/", "WS://plain.example/"} {
		t.Run("D9 wss to "+location, func(t *testing.T) {
			s := serveHijacked(t, true, redirectTo(302, location))
			d := &Dialer{Client: hosts(t, map[string]string{"example.com:443": s.Listener.Addr().String(), "plain.example:80": plain.addr}, clientTLS(s))}
			c, resp, err := d.Dial(t.Context(), "wss://example.com")
			d.Client.CloseIdleConnections()
			checkDialError(t, c, resp, err, 302, "redirect from a secure connection")
		})
	}
	t.Run("ws to wss", func(t *testing.T) {
		s := serveUpgrades(t, new(Upgrader), func(s *upgradeServer) { s.StartTLS() })
		first := serveReplies(t, redirectTo(307, "wss://example.com/"))
		d := &Dialer{Client: hosts(t, map[string]string{"first.example:80": first.addr, "example.com:443": s.Listener.Addr().String()}, clientTLS(s.Server))}
		c, _, err := d.Dial(t.Context(), "ws://first.example")
		if err != nil {
			t.Fatalf("Dial error = %v", err)
		}
		defer c.CloseNow()
		d.Client.CloseIdleConnections()
		wantEcho(t, c)
	})
	t.Run("another scheme", func(t *testing.T) {
		s := serveReplies(t, redirectTo(302, "file:///etc/passwd"))
		d := &Dialer{Client: newClient(t, func(tr *http.Transport) {
			tr.RegisterProtocol("file", http.NewFileTransport(http.Dir("/")))
		})}
		c, resp, err := d.Dial(t.Context(), s.url)
		d.Client.CloseIdleConnections()
		checkDialError(t, c, resp, err, 302, "scheme")
	})
}

// TestDial_D9_target fails at the target of a redirect, whose URL the peer has
// chosen: it is not in the error.
func TestDial_D9_target(t *testing.T) {
	s := serveReplies(t, redirectTo(302, "ws://nowhere.example/"+strings.Repeat("path", 1000)))
	d := &Dialer{Client: hosts(t, map[string]string{"first.example:80": s.addr}, nil)}
	c, resp, err := d.Dial(t.Context(), "ws://first.example")
	checkDialError(t, c, resp, err, 0, "no host nowhere.example:80")
	if strings.Contains(err.Error(), "path") {
		t.Errorf("Dial error = %v, want nothing of the URL's path in it", err)
	}
}

func TestDial_redirect_limits(t *testing.T) {
	loop := func(t *testing.T) *replyServer {
		return serveReplies(t, redirectTo(302, "/again"))
	}
	t.Run("ten", func(t *testing.T) {
		s := loop(t)
		d := &Dialer{Client: newClient(t, nil)}
		c, resp, err := d.Dial(t.Context(), s.url)
		d.Client.CloseIdleConnections()
		checkDialError(t, c, resp, err, 302, "stopped after 10 redirects")
		if n := len(s.got); n != 10 {
			t.Errorf("%d requests, want 10", n)
		}
	})
	t.Run("CheckRedirect", func(t *testing.T) {
		s := loop(t)
		d := &Dialer{Client: newClient(t, nil)}
		d.Client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
			if r.URL.Path != "/again" || len(via) == 0 {
				t.Errorf("CheckRedirect(%s, %d requests), want /again and some", r.URL, len(via))
			}
			if len(via) == 3 {
				return errScript
			}
			return nil
		}
		c, resp, err := d.Dial(t.Context(), s.url)
		d.Client.CloseIdleConnections()
		checkDialError(t, c, resp, err, 302, errScript.Error())
		if !errors.Is(err, errScript) || len(s.got) != 3 {
			t.Errorf("Dial error = %v after %d requests, want %v after 3", err, len(s.got), errScript)
		}
	})
	t.Run("ErrUseLastResponse", func(t *testing.T) {
		s := loop(t)
		d := &Dialer{Client: newClient(t, nil)}
		d.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		c, resp, err := d.Dial(t.Context(), s.url)
		d.Client.CloseIdleConnections()
		he := checkDialError(t, c, resp, err, 302, "101")
		if loc := he.Response.Header.Get("Location"); loc != "/again" {
			t.Errorf("Response has Location %q, want /again", loc)
		}
	})
}

func TestDial_D11_TLS(t *testing.T) {
	s := serveHijacked(t, true, func(net.Conn, *http.Request) { t.Error("a request came, want none") })
	c, resp, err := (&Dialer{Client: newClient(t, nil)}).Dial(t.Context(), strings.Replace(s.URL, "https", "wss", 1))
	checkDialError(t, c, resp, err, 0, "certificate")
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Errorf("Dial error = %v, want an x509.UnknownAuthorityError in it", err)
	}
	t.Run("server without TLS", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			nc, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\n\r\n")
			io.Copy(io.Discard, nc)
			nc.Close()
		}()
		c, resp, err := (&Dialer{Client: newClient(t, nil)}).Dial(t.Context(), "wss://"+l.Addr().String())
		checkDialError(t, c, resp, err, 0, "HTTP")
		l.Close()
		<-done
	})
}

// TestDial_TLS dials a server that prefers HTTP/2, with the Client that
// httptest makes for it.
func TestDial_TLS(t *testing.T) {
	s := serveUpgrades(t, new(Upgrader), func(s *upgradeServer) {
		s.EnableHTTP2 = true
		s.StartTLS()
	})
	if _, err := s.Client().Get(s.URL); err != nil { // leaves an HTTP/2 connection in the pool
		t.Fatalf("Get error = %v", err)
	}
	c, _, err := (&Dialer{Client: s.Client()}).Dial(t.Context(), strings.Replace(s.URL, "https", "wss", 1))
	if err != nil {
		t.Fatalf("Dial error = %v", err)
	}
	defer c.CloseNow()
	wantEcho(t, c)
	if _, ok := c.NetConn().(*tls.Conn); !ok {
		t.Errorf("NetConn() is a %T, want a *tls.Conn", c.NetConn())
	}
}

// TestDial_proxies dials through each kind of proxy that net/http knows.
func TestDial_proxies(t *testing.T) {
	echo := serveUpgrades(t, new(Upgrader), nil)
	secure := serveUpgrades(t, new(Upgrader), func(s *upgradeServer) { s.StartTLS() })
	var used atomic.Int32
	tunnel := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		used.Add(1)
		if r.Method != http.MethodConnect {
			r.URL.Host = echo.Listener.Addr().String()
			forward(w, r)
			return
		}
		out, err := net.Dial("tcp", r.URL.Host)
		if err != nil {
			t.Errorf("proxy: %v", err)
			return
		}
		w.WriteHeader(200)
		in, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("proxy: %v", err)
			return
		}
		splice(in, rw, out)
	})
	plainProxy := httptest.NewServer(tunnel)
	t.Cleanup(plainProxy.Close)
	tlsProxy := httptest.NewTLSServer(tunnel)
	t.Cleanup(tlsProxy.Close)
	socks := serveSOCKS5(t, &used)
	for _, tt := range []struct{ name, proxy, target string }{
		{"ws through HTTP", plainProxy.URL, "ws://" + echo.Listener.Addr().String()},
		{"wss through HTTP", plainProxy.URL, "wss://" + secure.Listener.Addr().String()},
		{"wss through HTTPS", tlsProxy.URL, "wss://" + secure.Listener.Addr().String()},
		{"ws through SOCKS5", socks, "ws://" + echo.Listener.Addr().String()},
		{"wss through SOCKS5", socks, "wss://" + secure.Listener.Addr().String()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proxy, err := url.Parse(tt.proxy)
			if err != nil {
				t.Fatal(err)
			}
			config := clientTLS(secure.Server)
			config.RootCAs.AddCert(tlsProxy.Certificate())
			d := &Dialer{Client: newClient(t, func(tr *http.Transport) {
				tr.Proxy, tr.TLSClientConfig = http.ProxyURL(proxy), config
			})}
			before := used.Load()
			c, _, err := d.Dial(t.Context(), tt.target)
			if err != nil {
				t.Fatalf("Dial error = %v", err)
			}
			defer c.CloseNow()
			wantEcho(t, c)
			if used.Load() == before {
				t.Error("the proxy was not asked, want the connection through it")
			}
		})
	}
}

// forward sends an upgrade request on as it is and then its connection.
func forward(w http.ResponseWriter, r *http.Request) {
	out, err := net.Dial("tcp", r.URL.Host)
	if err != nil {
		return
	}
	in, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		out.Close()
		return
	}
	r.Write(out)
	splice(in, rw, out)
}

// splice copies both ways until one end closes. fromA is where a is read.
func splice(a net.Conn, fromA io.Reader, b net.Conn) {
	done := make(chan struct{})
	go func() {
		io.Copy(a, b)
		a.Close()
		close(done)
	}()
	io.Copy(b, fromA)
	b.Close()
	<-done
}

// serveSOCKS5 starts a proxy that speaks as much of RFC 1928 as net/http asks
// for, and returns its URL.
func serveSOCKS5(t *testing.T, used *atomic.Int32) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer in.Close()
				used.Add(1)
				b := make([]byte, 10)
				io.ReadFull(in, b[:3]) // version 5, one method: no authentication
				in.Write([]byte{5, 0})
				if _, err := io.ReadFull(in, b); err != nil || b[3] != 1 { // connect to an IPv4 address
					t.Errorf("SOCKS5 request % x, error = %v, want an IPv4 address", b, err)
					return
				}
				out, err := net.Dial("tcp", fmt.Sprintf("%d.%d.%d.%d:%d", b[4], b[5], b[6], b[7], int(b[8])<<8|int(b[9])))
				if err != nil {
					t.Errorf("SOCKS5 proxy: %v", err)
					return
				}
				in.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
				splice(in, in, out)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return "socks5://" + l.Addr().String()
}

func TestDial_cookies(t *testing.T) {
	s := serveReplies(t, reply(func(key string) string { return goodReply(key, "Set-Cookie: a=1") }))
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &Dialer{Client: newClient(t, nil)}
	d.Client.Jar = jar
	for i, want := range []string{"", "a=1"} {
		c, _, err := d.Dial(t.Context(), s.url)
		if err != nil {
			t.Fatalf("Dial %d error = %v", i, err)
		}
		defer c.CloseNow()
		if got := (<-s.got).Header.Get("Cookie"); got != want {
			t.Errorf("Dial %d sent Cookie %q, want %q", i, got, want)
		}
	}
}

// TestDial_trace checks that a trace in ctx goes on working.
func TestDial_trace(t *testing.T) {
	s := serveUpgrades(t, new(Upgrader), nil)
	var mine net.Conn
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { mine = info.Conn },
	})
	c, _, err := (&Dialer{Client: newClient(t, nil)}).Dial(ctx, s.URL)
	if err != nil {
		t.Fatalf("Dial error = %v", err)
	}
	defer c.CloseNow()
	if mine != c.NetConn() {
		t.Errorf("the caller's GotConn got %v, want %v", mine, c.NetConn())
	}
}

// TestDial_staleConnection has the Client try an idle connection first that
// the server has closed: the one that the 101 came on is used.
func TestDial_staleConnection(t *testing.T) {
	var n atomic.Int32
	s := serveReplies(t, func(nc net.Conn, r *http.Request) {
		if n.Add(1) == 1 {
			io.WriteString(nc, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
			http.ReadRequest(bufio.NewReader(nc)) // the next request gets no answer
			nc.Close()
			return
		}
		reply(func(key string) string { return goodReply(key) })(nc, r)
	})
	d := &Dialer{Client: newClient(t, nil)}
	c, resp, err := d.Dial(t.Context(), s.url)
	checkDialError(t, c, resp, err, 403, "")
	c, _, err = d.Dial(t.Context(), s.url)
	if err != nil {
		t.Fatalf("second Dial error = %v, want net/http to try again", err)
	}
	defer c.CloseNow()
}

// A fakeTripper answers without a network, and may report a connection.
type fakeTripper struct {
	conn    net.Conn
	body    io.ReadCloser
	tripErr error
}

func (f fakeTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace := httptrace.ContextClientTrace(r.Context()); f.conn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: f.conn})
	}
	if f.tripErr != nil {
		return nil, f.tripErr
	}
	return &http.Response{
		StatusCode: 101, Status: "101 Switching Protocols", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
			"Sec-Websocket-Accept": {AcceptKey(r.Header.Get("Sec-WebSocket-Key"))},
		},
		Body: f.body, Request: r,
	}, nil
}

// closeBody is a body that counts how often it is closed.
type closeBody struct {
	io.ReadWriter
	closed int
}

func (b *closeBody) Close() error {
	b.closed++
	return nil
}

func TestDial_transports(t *testing.T) {
	frame := "\x81\x03abc"
	for _, tt := range []struct {
		name string
		conn *scriptConn // nil: none is reported
		body io.ReadWriter
		want []string // operations
		err  error
		say  string
	}{
		{
			name: "bytes behind", conn: &scriptConn{}, body: &deadlineBody{data: frame},
			want: []string{"read deadline", "deadline none"},
		},
		{name: "no connection", body: &deadlineBody{}, say: "GotConn"},
		{name: "body not writable", conn: &scriptConn{}, want: []string{"close"}, say: "io.Writer"},
		{
			name: "no read deadline", conn: &scriptConn{failAt: 1}, body: &deadlineBody{},
			want: []string{"read deadline", "close"}, err: errScript,
		},
		{
			name: "deadline stays", conn: &scriptConn{failAt: 2}, body: &deadlineBody{},
			want: []string{"read deadline", "deadline none", "close"}, err: errScript,
		},
		{
			name: "body fails", conn: &scriptConn{}, body: &deadlineBody{err: errScript},
			want: []string{"read deadline", "close"}, err: errScript,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := &closeBody{ReadWriter: tt.body}
			trip := fakeTripper{body: body}
			if tt.body == nil {
				trip.body = io.NopCloser(strings.NewReader(frame))
			}
			if tt.conn != nil {
				trip.conn = tt.conn
			}
			c, resp, err := (&Dialer{Client: &http.Client{Transport: trip}}).Dial(t.Context(), "ws://host")
			if tt.conn != nil && !slices.Equal(tt.conn.ops, tt.want) {
				t.Errorf("Dial did %q, want %q", tt.conn.ops, tt.want)
			}
			if tt.err == nil && tt.say == "" {
				if err != nil {
					t.Fatalf("Dial error = %v", err)
				}
				wantMessage(t, c, "abc")
				c.CloseNow()
				return
			}
			checkDialError(t, c, resp, err, 101, tt.say)
			if !errors.Is(err, tt.err) && tt.err != nil || tt.body != nil && body.closed != 1 {
				t.Errorf("Dial error = %v, body closed %d times, want %v and once", err, body.closed, tt.err)
			}
		})
	}
	t.Run("error of the transport", func(t *testing.T) {
		c, resp, err := (&Dialer{Client: &http.Client{Transport: fakeTripper{tripErr: errScript}}}).Dial(t.Context(), "ws://host")
		checkDialError(t, c, resp, err, 0, errScript.Error())
		if !errors.Is(err, errScript) {
			t.Errorf("Dial error = %v, want %v in it", err, errScript)
		}
	})
}

// deadlineBody ends like a connection whose read deadline has passed.
type deadlineBody struct {
	data string
	err  error // instead
}

func (b *deadlineBody) Read(p []byte) (int, error) {
	if n := copy(p, b.data); n > 0 {
		b.data = b.data[n:]
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	return 0, os.ErrDeadlineExceeded
}

func (b *deadlineBody) Write(p []byte) (int, error) { return 0, errScript }

// TestDial_deadlineIgnored reads from a connection that has no deadlines, and
// whose peer is silent: the end of ctx closes it.
func TestDial_deadlineIgnored(t *testing.T) {
	for _, silent := range []bool{true, false} {
		t.Run(fmt.Sprintf("silent=%t", silent), func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			ctx, cancel := context.WithCancel(t.Context())
			body := &closeBody{ReadWriter: readWriter{readerFunc(func(p []byte) (int, error) {
				cancel()
				if !silent { // the read is over before ctx's end has been seen
					<-closedOf(far)
					return 0, os.ErrDeadlineExceeded
				}
				return near.Read(p)
			}), near}}
			trip := fakeTripper{conn: deadlineless{near}, body: body}
			c, resp, err := (&Dialer{Client: &http.Client{Transport: trip}}).Dial(ctx, "ws://host")
			checkDialError(t, c, resp, err, 101, "canceled")
			if !errors.Is(err, context.Canceled) || body.closed != 1 {
				t.Errorf("Dial error = %v, body closed %d times, want context.Canceled and once", err, body.closed)
			}
		})
	}
}

// closedOf returns a channel that is closed when the other end of nc is.
func closedOf(nc net.Conn) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		io.Copy(io.Discard, nc)
		close(done)
	}()
	return done
}

type readWriter struct {
	io.Reader
	io.Writer
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type deadlineless struct{ net.Conn }

func (deadlineless) SetDeadline(time.Time) error     { return nil }
func (deadlineless) SetReadDeadline(time.Time) error { return nil }

// TestDialer_shared dials in many goroutines by one Dialer.
func TestDialer_shared(t *testing.T) {
	s := serveUpgrades(t, &Upgrader{Subprotocols: []string{"chat"}}, nil)
	d := &Dialer{Client: newClient(t, nil), Header: http.Header{"X-A": {"1"}}, Subprotocols: []string{"chat"}}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			c, _, err := d.Dial(t.Context(), s.URL)
			if err != nil {
				t.Errorf("Dial error = %v", err)
				return
			}
			defer c.CloseNow()
			if err := c.WriteText(t.Context(), "x"); err != nil {
				t.Errorf("WriteText error = %v", err)
			}
			if _, p, err := c.ReadMessage(t.Context()); string(p) != "x" {
				t.Errorf("ReadMessage = %q, error = %v, want x", p, err)
			}
		})
	}
	wg.Wait()
}

// conformingReply is the list of section 4.1 again, to check checkResponse by.
func conformingReply(resp *http.Response, accept string, offered []string) bool {
	h := resp.Header
	upgrades := 0
	for _, s := range strings.Split(strings.Join(h["Connection"], ","), ",") {
		if connectionRE.MatchString(s) {
			upgrades++
		}
	}
	protocol := h["Sec-Websocket-Protocol"]
	return resp.StatusCode == 101 && resp.ProtoAtLeast(1, 1) &&
		len(h["Upgrade"]) == 1 && upgradeRE.MatchString(h["Upgrade"][0]) && len(h["Upgrade"][0]) == len("websocket") &&
		upgrades == 1 && slices.Equal(h["Sec-Websocket-Accept"], []string{accept}) && h["Sec-Websocket-Extensions"] == nil &&
		(protocol == nil || len(protocol) == 1 && slices.Contains(offered, protocol[0]))
}

func FuzzResponse(f *testing.F) {
	for _, tt := range replyTests {
		f.Add([]byte(goodReply(sampleKey, replyEdits(tt.edits, sampleKey)...)))
	}
	f.Add([]byte("HTTP/1.0 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + sampleAccept + "\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	offers := [][]string{nil, {"chat", "superchat"}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), &http.Request{Method: "GET"})
		if err != nil {
			return
		}
		for _, offered := range offers {
			agreed, err := checkResponse(resp, sampleKey, offered, nil)
			chosen := agreed.subprotocol
			if want := conformingReply(resp, sampleAccept, offered); (err == nil) != want {
				t.Errorf("checkResponse(%q, %q) error = %v, want accepted = %t", raw, offered, err, want)
			}
			if got := strings.Join(resp.Header["Sec-Websocket-Protocol"], ""); err == nil && chosen != got || err != nil && chosen != "" {
				t.Errorf("checkResponse(%q, %q) = %q, error = %v, want %q", raw, offered, chosen, err, got)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("checkResponse error of %d bytes, want a short one", len(err.Error()))
			}
		}
	})
}
