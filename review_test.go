package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What reviewers have found. Each test fails without the cure.

// Messages ends without an error only when its own connection ended in a normal
// way, not when its context did so because of another one.
func TestMessages_contextOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, aPeer := Pipe(nil, nil)
		b, bPeer := Pipe(nil, nil)
		defer a.CloseNow()
		defer aPeer.CloseNow()
		go b.ReadMessage(context.Background())
		go bPeer.Close(StatusNormalClosure, "")
		var last error
		for _, err := range a.Messages(b.Context()) {
			last = err
		}
		if !errors.Is(last, context.Canceled) || a.State() != StateOpen {
			t.Errorf("Messages ends with %v, %v, want the end of its context and an open connection", last, a.State())
		}
	})
}

// A net.Conn that hides TLS is not trusted to go on after a write timed out.
func TestWriteMessage_hiddenTLS(t *testing.T) {
	ours, theirs := tlsPair(t)
	defer theirs.Close()
	hidden := struct{ net.Conn }{ours}
	c := newConn(context.Background(), hidden, false, &Options{WriteTimeout: time.Millisecond, CloseTimeout: time.Second}, agreement{}, nil)
	var err error
	for err == nil {
		err = c.WriteMessage(context.Background(), OpBinary, make([]byte, 10_000))
	}
	var ce *CloseError
	if !errors.As(err, &ce) || ce.Code != StatusAbnormalClosure || c.State() != StateClosed {
		t.Errorf("WriteMessage that timed out: %v, %v, want a lost connection", err, c.State())
	}
}

// A handler that gives a message up while a Close is under way does not cut
// that off by its deferred CloseNow.
func TestMessageWriter_duringClose(t *testing.T) {
	for name, end := range map[string]func(w *MessageWriter) error{"Abort": (*MessageWriter).Abort, "Close": (*MessageWriter).Close} {
		t.Run(name, func(t *testing.T) {
			eachPeer(t, bubbles, Options{}, func(t *testing.T, p *peer) {
				w := p.open(context.Background(), OpText)
				w.Write([]byte("a"))
				w.Flush()
				p.wantFrame(false, OpText, "a")
				w.Write([]byte{0xC3}) // Close will not like it
				done := make(chan error)
				go func() { done <- p.c.Close(StatusNormalClosure, "") }()
				p.wantClose(StatusNormalClosure)
				go func() {
					time.Sleep(time.Second) // a peer that takes its time
					p.send(p.closing(StatusNormalClosure, ""))
					p.hangUp()
				}()
				end(w)
				p.c.CloseNow()
				if err := <-done; err != nil {
					t.Errorf("Close: %v, want nil", err)
				}
			})
		})
	}
}

// A gated is a net.Conn whose first Read waits for what it is to return, and is
// not cut by a deadline.
type gated struct {
	net.Conn
	first chan []byte
}

func (g *gated) Read(p []byte) (int, error) {
	if b, ok := <-g.first; ok {
		close(g.first)
		return copy(p, b), nil
	}
	return g.Conn.Read(p)
}

// A message that breaks a rule, which a reader meets when Close has begun, does
// not keep Close from finding the peer's close frame behind it.
func TestClose_badMessageBefore(t *testing.T) {
	for name, wire := range map[string][]byte{
		"no text":           frame(Header{Fin: true, Opcode: OpText}, []byte("\xff\xff\xff\xff")),
		"no text, in parts": append(frame(Header{Opcode: OpText}, []byte("\xff\xff")), frame(Header{Fin: true}, []byte("\xff"))...),
		"too big":           frame(Header{Fin: true, Opcode: OpText}, make([]byte, 200)),
		"too big, in parts": append(frame(Header{Opcode: OpText}, make([]byte, 200)), frame(Header{Fin: true}, make([]byte, 200))...),
		"no DEFLATE":        frame(Header{Fin: true, Rsv: RSV1, Opcode: OpText}, []byte("\xff\xff\xff\xff")),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := netPipe()
				g := &gated{Conn: ours, first: make(chan []byte)}
				c := newConn(context.Background(), g, true, &Options{ReadLimit: 100, CloseTimeout: time.Second}, agreement{compression: &withTakeover}, nil)
				go c.ReadMessage(context.Background())
				synctest.Wait()
				done := make(chan error)
				go func() { done <- c.Close(StatusNormalClosure, "") }()
				synctest.Wait()
				g.first <- append(wire, frame(Header{Fin: true, Opcode: OpClose}, []byte{0x03, 0xe8})...)
				go io.Copy(io.Discard, theirs)
				theirs.(*pipeConn).CloseWrite()
				if err := <-done; err != nil {
					t.Errorf("Close: %v, want nil", err)
				}
				theirs.Close()
			})
		})
	}
}

// KeepAlive leaves a closing handshake that is under way to its own bounds.
func TestKeepAlive_duringClose(t *testing.T) {
	eachPeer(t, bubbles, Options{KeepAlive: time.Second, CloseTimeout: 5 * time.Second}, func(t *testing.T, p *peer) {
		go p.c.ReadMessage(context.Background())
		time.Sleep(1500 * time.Millisecond)
		done := make(chan error)
		go func() { done <- p.c.Close(StatusNormalClosure, "") }()
		time.Sleep(2 * time.Second)
		p.send(p.closing(StatusNormalClosure, ""))
		p.hangUp()
		if err := <-done; err != nil {
			t.Errorf("Close: %v, want nil: the peer answered in time", err)
		}
	})
}

// Misuse has an error, or a panic that leaves nothing locked.
func TestMisuse(t *testing.T) {
	eachPeer(t, bubbles, Options{}, func(t *testing.T, p *peer) {
		if err := p.c.WritePrepared(context.Background(), new(Prepared)); err == nil {
			t.Errorf("WritePrepared of a zero Prepared = nil, want an error")
		}
		func() {
			defer func() { recover() }()
			var none context.Context
			p.c.ReadMessage(none)
		}()
		p.wantAlive()
	})
}

// No part of a password is repeated in an error, wherever a URL goes wrong.
func TestDial_password(t *testing.T) {
	for _, u := range []string{
		"ws://user:secret/x@host/", "ws://user:sec ret@host", "ws://user:secret%zz@host/", "ws://user:99999/x@host",
		"user:secret@host", "ws://user:secret@host:bad/", "ws://user:se#cret@host/", "ws://user:[secret@host/", "ws://u:secret]@host",
	} {
		_, _, err := Dial(context.Background(), u)
		if err == nil || strings.Contains(err.Error(), "sec") || strings.Contains(err.Error(), "99999") {
			t.Errorf("Dial(%q): %v", u, err)
		}
	}
}
