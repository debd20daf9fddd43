package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestMain fails the run if a test left goroutines or file descriptors behind.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() == "" { // or that would be measured
		pattern = (*buffer)(bytes.Repeat([]byte{0xDB}, bufferSize))
	}
	warmUp()
	before := openFiles()
	code := m.Run()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if code == 0 && !settled(before) {
		code = 1
	}
	os.Exit(code)
}

// warmUp makes the runtime open what it keeps open for all sockets.
func warmUp() {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
}

// settled waits for what the tests have left to its own end, a linger for
// instance, and reports what does not end. Only here may a test wait so.
func settled(before []string) bool {
	var stacks []string
	var files []string
	for range 400 {
		stacks, files = ourGoroutines(), openFiles()
		if len(stacks) == 0 && len(files) <= len(before) {
			return true
		}
		runtime.GC()
		time.Sleep(25 * time.Millisecond)
	}
	for _, s := range stacks {
		fmt.Printf("goroutine left:\n%s\n\n", s)
	}
	if len(files) > len(before) {
		fmt.Printf("%d files open, want %d as before:\n%q\n%q\n", len(files), len(before), files, before)
	}
	return false
}

// raceEnabled reports whether the race detector is at work.
func raceEnabled() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// ourGoroutines returns the stacks of the goroutines that run code of this
// package, but for the caller's.
func ourGoroutines() (stacks []string) {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for s := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(s, "example.com/websocket") && !strings.Contains(s, "TestMain") {
			stacks = append(stacks, s)
		}
	}
	return stacks
}

// openFiles returns what the open file descriptors are, where the system tells.
func openFiles() (files []string) {
	const dir = "/proc/self/fd/"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if name, err := os.Readlink(dir + e.Name()); err == nil {
			files = append(files, name)
		}
	}
	return files
}

// A transport connects the end under test with a scripted peer.
type transport struct {
	name   string
	bubble bool // no sockets: it works, and is used, inside a synctest bubble
	step   int  // bytes in each Write of the peer; 0: all there are
	dial   func(tb testing.TB) (ours, theirs net.Conn)
}

var (
	overTCP       = transport{name: "TCP", dial: tcpPair}
	overTCPBytes  = transport{name: "TCP in bytes", step: 1, dial: tcpPair}
	overPipe      = transport{name: "Pipe", bubble: true, dial: pipePair}
	overPipeBytes = transport{name: "Pipe in bytes", bubble: true, step: 1, dial: pipePair}
	overNetPipe   = transport{name: "net.Pipe", bubble: true, dial: netPipePair}
	overTLS       = transport{name: "TLS", dial: tlsPair}

	socketsAndPipes = []transport{overTCP, overTCPBytes, overPipe, overPipeBytes}
	allTransports   = []transport{overTCP, overTCPBytes, overPipe, overPipeBytes, overNetPipe, overTLS}
	wholeTransports = []transport{overTCP, overPipe, overNetPipe, overTLS}
	bubbles         = []transport{overPipe}
)

// run calls f, in a bubble if the transport can.
func (tr transport) run(t *testing.T, f func(t *testing.T)) {
	if tr.bubble {
		synctest.Test(t, f)
		return
	}
	f(t)
}

func pipePair(testing.TB) (ours, theirs net.Conn) { return netPipe() }

// tcpPair returns the two ends of a TCP connection over loopback.
func tcpPair(tb testing.TB) (ours, theirs net.Conn) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("Listen: %v", err)
	}
	defer l.Close()
	if theirs, err = net.Dial("tcp", l.Addr().String()); err != nil {
		tb.Fatalf("Dial: %v", err)
	}
	if ours, err = l.Accept(); err != nil {
		tb.Fatalf("Accept: %v", err)
	}
	return ours, theirs
}

// netPipePair returns an end of a net.Pipe, which holds no bytes and has no
// half close, for the end under test. What is between it and the peer does, so
// that the peer need not read while it writes.
func netPipePair(testing.TB) (ours, theirs net.Conn) {
	ours, far := net.Pipe()
	near, theirs := netPipe()
	go func() {
		io.Copy(near, far)
		near.(*pipeConn).CloseWrite()
	}()
	go func() {
		if _, err := io.Copy(far, near); err != nil {
			near.Close()
		}
		far.Close()
	}()
	return ours, theirs
}

var testTLS = sync.OnceValue(func() *tls.Config {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return s.TLS
})

// tlsPair returns the server's end of a TLS connection over TCP, then the
// client's.
func tlsPair(tb testing.TB) (ours, theirs net.Conn) {
	tb.Helper()
	a, b := tcpPair(tb)
	server := tls.Server(a, testTLS())
	client := tls.Client(b, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := errors.Join(client.Handshake(), <-done); err != nil {
		tb.Fatalf("TLS handshake: %v", err)
	}
	return server, client
}

// A peer is the other end of a connection under test. It follows a script: it
// sends what it is told to, and checks what comes.
type peer struct {
	t     testing.TB
	c     *Conn // under test
	role  role  // of c
	nc    net.Conn
	step  int
	again func(o *Options) *peer // makes another one like this
}

// newPeer makes a connection of the role under test and its peer.
func newPeer(t testing.TB, role role, tr transport, o *Options) *peer {
	t.Helper()
	ours, theirs := tr.dial(t)
	if !tr.bubble {
		theirs.SetDeadline(time.Now().Add(hangGuard))
	}
	var a agreement
	if o.Compression != nil { // as if the peer had agreed to everything
		agreed := o.Compression.withDefaults()
		a.compression = &agreed
	}
	c := newConn(context.Background(), ours, !role.server, o, a, nil)
	t.Cleanup(func() {
		theirs.Close()
		c.CloseNow()
	})
	p := &peer{t: t, c: c, role: role, nc: theirs, step: tr.step}
	p.again = func(o *Options) *peer { return newPeer(t, role, tr, o) }
	return p
}

// eachPeer runs f as a subtest for both roles over each of the transports.
func eachPeer(t *testing.T, via []transport, o Options, f func(t *testing.T, p *peer)) {
	t.Helper()
	for _, tr := range via {
		for _, role := range roles {
			t.Run(role.name+"/"+tr.name, func(t *testing.T) {
				tr.run(t, func(t *testing.T) { f(t, newPeer(t, role, tr, &o)) })
			})
		}
	}
}

// frame returns a frame as the peer has to send it: masked if it is a client.
func (p *peer) frame(h Header, payload []byte) []byte {
	h.Masked, h.Mask = p.role.server, helloKey
	return frame(h, payload)
}

// whole returns a frame with FIN, and part one without.
func (p *peer) whole(op Opcode, payload string) []byte {
	return p.frame(Header{Fin: true, Opcode: op}, []byte(payload))
}

func (p *peer) part(op Opcode, payload string) []byte {
	return p.frame(Header{Opcode: op}, []byte(payload))
}

// closing returns a close frame.
func (p *peer) closing(code StatusCode, reason string) []byte {
	return p.whole(OpClose, string([]byte{byte(code >> 8), byte(code)})+reason)
}

// write sends frames, or parts of them, as the transport wants it.
func (p *peer) write(frames ...[]byte) error {
	wire := bytes.Join(frames, nil)
	for len(wire) > 0 {
		n := len(wire)
		if p.step > 0 {
			n = min(n, p.step)
		}
		if _, err := p.nc.Write(wire[:n]); err != nil {
			return err
		}
		wire = wire[n:]
	}
	return nil
}

// send is write that must succeed.
func (p *peer) send(frames ...[]byte) {
	p.t.Helper()
	if err := p.write(frames...); err != nil {
		p.t.Errorf("peer: write: %v", err)
	}
}

// read returns the next frame, unmasked, after a check of what every frame
// must be.
func (p *peer) read() (Header, []byte, error) {
	h, err := ReadHeader(p.nc)
	if err != nil {
		return h, nil, err
	}
	switch {
	case h.Masked == p.role.server, h.Rsv != 0 && !p.mayCompress(h), h.Opcode.IsReserved(),
		h.Opcode.IsControl() && (!h.Fin || h.Length > maxControlPayload), h.Length > 64<<20:
		p.t.Errorf("peer: got a frame %v from a %s", h, p.role.name)
		return h, nil, errors.New("broken frame")
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(p.nc, payload); err != nil {
		return h, nil, err
	}
	if h.Masked {
		payload, _ = maskSlowly(h.Mask, 0, payload)
	}
	return h, payload, nil
}

// mayCompress reports whether h may be marked as that of a compressed message.
func (p *peer) mayCompress(h Header) bool {
	return p.c.compression != nil && h.Opcode.IsData() && h.Rsv == RSV1
}

// want reads a frame with FIN, want's first fragments without.
func (p *peer) want(op Opcode, payload string) {
	p.t.Helper()
	p.wantFrame(true, op, payload)
}

func (p *peer) wantFrame(fin bool, op Opcode, payload string) {
	p.t.Helper()
	h, got, err := p.read()
	if err != nil || h.Opcode != op || h.Fin != fin || string(got) != payload {
		p.t.Errorf("peer: got %v %.80q, %v, want %v %.80q with fin=%t", h, got, err, op, payload, fin)
	}
}

// wantClose reads a close frame with the code and returns its reason.
func (p *peer) wantClose(code StatusCode) string {
	p.t.Helper()
	h, payload, err := p.read()
	if err != nil || h.Opcode != OpClose {
		p.t.Errorf("peer: got %v %.80q, %v, want a close frame with %v", h, payload, err, code)
		return ""
	}
	got, reason, err := ParseClosePayload(payload)
	if err != nil || got != code {
		p.t.Errorf("peer: close frame with %v %q, %v, want %v", got, reason, err, code)
	}
	return reason
}

// wantEOF checks that the stream ends here, and in order: a reset, which could
// reach a peer before it has read what came last, is a failure. It then ends
// the peer's half.
func (p *peer) wantEOF() {
	p.t.Helper()
	var b [1]byte
	if n, err := p.nc.Read(b[:]); n > 0 || err != io.EOF {
		p.t.Errorf("peer: read: %d bytes % x, %v, want EOF", n, b[:n], err)
	}
	p.hangUp()
}

// wantIdle checks that nothing more has been sent. It needs a bubble.
func (p *peer) wantIdle() {
	p.t.Helper()
	synctest.Wait()
	p.nc.SetReadDeadline(time.Now().Add(time.Nanosecond))
	defer p.nc.SetReadDeadline(time.Time{})
	var b [1]byte
	if n, err := p.nc.Read(b[:]); n > 0 || !isTimeout(err) {
		p.t.Errorf("peer: read: %d bytes % x, %v, want nothing yet", n, b[:n], err)
	}
}

// hangUp ends the peer's half of the stream.
func (p *peer) hangUp() { p.nc.(interface{ CloseWrite() error }).CloseWrite() }

// leave ends the stream, both halves.
func (p *peer) leave() { p.nc.Close() }

// cut resets the connection, if it is one that can be reset.
func (p *peer) cut() {
	nc := p.nc
	if s, ok := nc.(*tls.Conn); ok {
		nc = s.NetConn()
	}
	if s, ok := nc.(*net.TCPConn); ok {
		s.SetLinger(0)
	}
	nc.Close()
}

// A conversation is what a reader got, as model says it, and the error at the
// end.
type conversation struct {
	got []string
	err error
}

// wantRead checks that the next message is want.
func (p *peer) wantRead(op Opcode, want string) {
	p.t.Helper()
	wantNext(p.t, p.c, op, want)
}

func wantNext(tb testing.TB, c *Conn, op Opcode, want string) {
	tb.Helper()
	got, msg, err := c.ReadMessage(context.Background())
	if err != nil || got != op || string(msg) != want {
		tb.Errorf("ReadMessage = %v %.80q, %v, want %v %.80q", got, msg, err, op, want)
	}
}

// reading reads on another goroutine, to the end, by the i-th of the methods.
func (p *peer) reading(i int) <-chan conversation {
	done := make(chan conversation, 1)
	go func() {
		var v conversation
		v.err = readMethods[i%len(readMethods)](p.c, func(op Opcode, msg []byte) {
			v.got = append(v.got, fmt.Sprintf("%v %q", op, msg))
		})
		done <- v
	}()
	return done
}

// readMethods read messages to the end, by each of the methods there are.
var readMethods = []func(c *Conn, f func(Opcode, []byte)) error{
	func(c *Conn, f func(Opcode, []byte)) error {
		for {
			op, msg, err := c.ReadMessage(context.Background())
			if err != nil {
				return err
			}
			if msg == nil {
				return errors.New("ReadMessage returned nil without an error")
			}
			f(op, msg)
		}
	},
	func(c *Conn, f func(Opcode, []byte)) error {
		dst := make([]byte, 5, 64)
		for {
			op, msg, err := c.AppendMessage(c.Context(), dst)
			if err != nil {
				return err
			}
			f(op, msg[5:])
		}
	},
	func(c *Conn, f func(Opcode, []byte)) error {
		for {
			op, r, err := c.NextReader(context.Background())
			if err != nil {
				return err
			}
			var check validator
			var msg []byte
			for buf := make([]byte, 7); err == nil; {
				var n int
				n, err = r.Read(buf)
				if msg = append(msg, buf[:n]...); op == OpText && !check.write(buf[:n]) {
					return fmt.Errorf("Read delivered % x, which is not text", msg)
				}
			}
			if err != io.EOF {
				return err
			}
			f(op, msg)
		}
	},
	func(c *Conn, f func(Opcode, []byte)) error {
		for m, err := range c.Messages(context.Background()) {
			if err != nil {
				return err
			}
			f(m.Opcode, m.Data)
		}
		return c.ended()
	},
}

// wantEnded checks what is left of a connection that err has ended.
func (p *peer) wantEnded(err error) {
	p.t.Helper()
	c, ctx := p.c, context.Background()
	<-c.Context().Done()
	if cause := context.Cause(c.Context()); !errors.Is(cause, err) {
		p.t.Errorf("context.Cause = %v, want %v", cause, err)
	}
	if s := c.State(); s != StateClosed {
		p.t.Errorf("State = %v after %v, want closed", s, err)
	}
	for _, call := range calls(c, ctx) {
		if got := call.err(); got != err {
			p.t.Errorf("%s on an ended connection: %v, want %v", call.name, got, err)
		}
	}
	for _, err := range c.Messages(ctx) {
		if isNormalEnd(err) {
			p.t.Errorf("Messages yields %v on an ended connection, want an end without an error", err)
		}
	}
	var ce *CloseError
	answered := errors.As(err, &ce) && ce.Code != StatusAbnormalClosure
	if got := c.Close(StatusNormalClosure, ""); answered && got != nil || !answered && !errors.Is(got, net.ErrClosed) {
		p.t.Errorf("Close after %v: %v", err, got)
	}
	if got := c.CloseNow(); !errors.Is(got, net.ErrClosed) {
		p.t.Errorf("CloseNow after %v: %v, want net.ErrClosed", err, got)
	}
	if n := c.BufferedAmount(); n != 0 {
		p.t.Errorf("BufferedAmount = %d on an ended connection, want 0", n)
	}
}

// A call is a method that can fail.
type call struct {
	name string
	err  func() error
}

// calls returns the methods that read and write messages.
func calls(c *Conn, ctx context.Context) []call {
	return []call{
		{"ReadMessage", func() error { _, _, err := c.ReadMessage(ctx); return err }},
		{"AppendMessage", func() error { _, _, err := c.AppendMessage(ctx, nil); return err }},
		{"NextReader", func() error { _, _, err := c.NextReader(ctx); return err }},
		{"WriteMessage", func() error { return c.WriteMessage(ctx, OpBinary, []byte{1}) }},
		{"WriteText", func() error { return c.WriteText(ctx, "a") }},
		{"NextWriter", func() error { _, err := c.NextWriter(ctx, OpText); return err }},
		{"WritePrepared", func() error {
			m, err := Prepare(OpText, []byte("a"))
			if err != nil {
				return err
			}
			return c.WritePrepared(ctx, m)
		}},
		{"Ping", func() error { _, err := c.Ping(ctx); return err }},
	}
}

// wantAlive checks that messages pass in both directions.
func (p *peer) wantAlive() {
	p.t.Helper()
	if s := p.c.State(); s != StateOpen {
		p.t.Errorf("State = %v, want open", s)
	}
	p.send(p.whole(OpText, "still there?"))
	p.wantRead(OpText, "still there?")
	if err := p.c.WriteText(context.Background(), "still here"); err != nil {
		p.t.Errorf("WriteText: %v, want a connection that is alive", err)
		return
	}
	p.want(OpText, "still here")
}

// closed runs the closing handshake that the peer begins.
func (p *peer) closed() {
	p.t.Helper()
	done := p.reading(0)
	p.send(p.closing(StatusGoingAway, "bye"))
	p.wantClose(StatusGoingAway)
	if p.role.server {
		p.wantEOF()
	} else {
		p.hangUp() // the client waits for that
	}
	v := <-done
	var ce *CloseError
	if !errors.As(v.err, &ce) || ce.Code != StatusGoingAway || ce.Reason != "bye" || len(v.got) > 0 {
		p.t.Errorf("reader got %.100q, %v, want the peer's close frame, 1001 bye", v.got, v.err)
	}
}

// closeUs calls Close on the connection under test, lets the peer answer in
// the right way, and returns what Close does.
func (p *peer) closeUs(code StatusCode, reason string) error {
	p.t.Helper()
	done := make(chan error, 1)
	go func() { done <- p.c.Close(code, reason) }()
	if got := p.wantClose(code); got != reason {
		p.t.Errorf("peer: close reason %q, want %q", got, reason)
	}
	p.send(p.closing(code, ""))
	if p.role.server {
		p.wantEOF()
	} else {
		p.hangUp()
	}
	return <-done
}
