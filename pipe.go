package websocket

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipeCapacity is how many bytes each direction of a Pipe holds, as a socket's
// buffers would, before a write waits for a read.
const pipeCapacity = 64 << 10

// Pipe returns the two ends of a WebSocket connection in memory, the server's
// first, for tests of code that uses a Conn: no socket, no handshake but for
// the agreement on compression, the same protocol. Each direction holds 64 KiB, so one goroutine may write at one end
// and then read at the other. It works inside a [testing/synctest] bubble, and
// so do all timeouts on it. nil Options stand for the zero value.
//
// Pipe panics if the Options cannot be honoured, which Upgrade and Dial report
// as an error.
func Pipe(server, client *Options) (*Conn, *Conn) {
	s, c := pipeOptions(server), pipeOptions(client)
	atServer, atClient := s.Compression.negotiate(c.Compression)
	a, b := netPipe()
	return newConn(context.Background(), a, false, s, agreement{compression: atServer}, nil),
		newConn(context.Background(), b, true, c, agreement{compression: atClient}, nil)
}

func pipeOptions(o *Options) *Options {
	if o == nil {
		return new(Options)
	}
	if err := o.check(); err != nil {
		panic(err)
	}
	return o
}

// netPipe returns two connected ends. Unlike those of net.Pipe they buffer,
// and one half can be closed alone, as on a socket.
func netPipe() (net.Conn, net.Conn) {
	x, y := newStream(), newStream()
	return &pipeConn{in: x, out: y}, &pipeConn{in: y, out: x}
}

type pipeConn struct{ in, out *stream }

func (p *pipeConn) Read(b []byte) (int, error)  { return p.in.read(b) }
func (p *pipeConn) Write(b []byte) (int, error) { return p.out.write(b) }

func (p *pipeConn) CloseWrite() error {
	p.out.end(&p.out.ended)
	return nil
}

func (p *pipeConn) Close() error {
	p.out.end(&p.out.ended)
	p.out.end(&p.out.writerGone)
	p.in.end(&p.in.readerGone)
	return nil
}

func (p *pipeConn) LocalAddr() net.Addr  { return pipeAddr{} }
func (p *pipeConn) RemoteAddr() net.Addr { return pipeAddr{} }

func (p *pipeConn) SetReadDeadline(t time.Time) error  { return p.in.set(&p.in.readBy, t) }
func (p *pipeConn) SetWriteDeadline(t time.Time) error { return p.out.set(&p.out.writeBy, t) }

func (p *pipeConn) SetDeadline(t time.Time) error {
	p.SetReadDeadline(t)
	return p.SetWriteDeadline(t)
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// A stream is one direction of a pipe.
type stream struct {
	mu      sync.Mutex
	changed sync.Cond
	data    []byte

	ended      bool // nothing more will be written
	writerGone bool // the writing end is closed
	readerGone bool // the reading end is closed

	readBy, writeBy deadline
}

// A deadline wakes those who wait for it.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func newStream() *stream {
	s := new(stream)
	s.changed.L = &s.mu
	return s
}

func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readerGone:
			return 0, net.ErrClosed
		case s.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case len(s.data) > 0 || len(b) == 0:
			n := copy(b, s.data)
			s.data = append(s.data[:0], s.data[n:]...)
			s.changed.Broadcast()
			return n, nil
		case s.ended:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) write(b []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.writerGone:
			return n, net.ErrClosed
		case s.ended || s.readerGone:
			return n, io.ErrClosedPipe
		case s.writeBy.passed():
			return n, os.ErrDeadlineExceeded
		}
		k := min(len(b), pipeCapacity-len(s.data))
		s.data = append(s.data, b[:k]...)
		s.changed.Broadcast()
		n += k
		if b = b[k:]; len(b) == 0 {
			return n, nil
		}
		s.changed.Wait()
	}
}

// end sets one of the flags.
func (s *stream) end(flag *bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*flag = true
	s.changed.Broadcast()
	if !s.writerGone || !s.readerGone {
		return
	}
	s.readBy.stop()
	s.writeBy.stop()
}

func (s *stream) set(d *deadline, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.stop()
	d.at = t
	if !t.IsZero() && !d.passed() {
		d.timer = time.AfterFunc(time.Until(t), s.wake)
	}
	s.changed.Broadcast()
	return nil
}

func (s *stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Broadcast()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
