package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Close and the peer's close: each side sends one close frame, and hears what
// the other one said.
func TestClose(t *testing.T) {
	eachPeer(t, allTransports, Options{}, func(t *testing.T, p *peer) {
		reason := "grüezi" + strings.Repeat("!", MaxCloseReason-7) // C6: 123 bytes
		if err := p.closeUs(4321, reason); err != nil {
			t.Errorf("Close: %v", err)
		}
		p.wantEnded(errClosed)
		var ce *CloseError
		if cause := context.Cause(p.c.Context()); !errors.As(cause, &ce) || ce.Code != 4321 || !errors.Is(cause, net.ErrClosed) {
			t.Errorf("context.Cause = %v, want net.ErrClosed and the peer's 4321", cause)
		}

		p = p.again(new(Options))
		p.closed()
		<-p.c.Context().Done()
		if cause := context.Cause(p.c.Context()); !errors.As(cause, &ce) || ce.Code != 1001 || errors.Is(cause, net.ErrClosed) {
			t.Errorf("context.Cause = %v, want the peer's 1001", cause)
		}
	})
}

// C1: an empty close frame in either direction.
func TestClose_empty(t *testing.T) {
	eachPeer(t, allTransports, Options{}, func(t *testing.T, p *peer) {
		done := make(chan error, 1)
		go func() { done <- p.c.Close(StatusNoStatusReceived, "") }()
		p.want(OpClose, "")
		p.send(p.whole(OpClose, ""))
		p.hangUp()
		if err := <-done; err != nil {
			t.Errorf("C1 Close(1005): %v", err)
		}
		var ce *CloseError
		if cause := context.Cause(p.c.Context()); !errors.As(cause, &ce) || ce.Code != StatusNoStatusReceived {
			t.Errorf("C1 context.Cause = %v, want the peer's 1005", cause)
		}
	})
}

// C7: both sides close at once, with different codes.
func TestClose_C7_bothAtOnce(t *testing.T) {
	eachPeer(t, allTransports, Options{}, func(t *testing.T, p *peer) {
		for _, reading := range []bool{false, true} {
			if reading {
				p = p.again(new(Options))
				done := p.reading(0)
				defer func() {
					if v := <-done; !errors.Is(v.err, net.ErrClosed) && verdict(v.err) != `closed 4002 "theirs"` {
						t.Errorf("C7 reader: %v, want net.ErrClosed or the peer's 4002", v.err)
					}
				}()
			}
			sent := make(chan struct{})
			go func() { p.send(p.closing(4002, "theirs")); close(sent) }()
			err := make(chan error, 1)
			go func() { err <- p.c.Close(4001, "ours") }()
			<-sent
			got := p.answers()
			if !slices.Equal(got, []string{"close 4001"}) && (!reading || !slices.Equal(got, []string{"close 4002"})) {
				t.Errorf("C7 peer got %q, want one close frame", got)
			}
			if err := <-err; err != nil {
				t.Errorf("C7 Close: %v, want nil", err)
			}
			<-p.c.Context().Done()
			var ce *CloseError
			if cause := context.Cause(p.c.Context()); !errors.As(cause, &ce) || ce.Code != 4002 || ce.Reason != "theirs" {
				t.Errorf("C7 context.Cause = %v, want the peer's 4002", cause)
			}
		}
	})
}

// C7 between two of ours.
func TestClose_C7_bothOurs(t *testing.T) {
	for range 100 {
		s, c := Pipe(nil, nil)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Close(4001, "server's"); err != nil {
				t.Errorf("C7 server's Close: %v", err)
			}
		})
		wg.Go(func() {
			if err := c.Close(4002, "client's"); err != nil {
				t.Errorf("C7 client's Close: %v", err)
			}
		})
		wg.Wait()
		for c, want := range map[*Conn]string{s: "client's", c: "server's"} {
			var ce *CloseError
			if cause := context.Cause(c.Context()); !errors.As(cause, &ce) || ce.Reason != want {
				t.Errorf("C7 context.Cause = %v, want the close frame of the other side, %s", cause, want)
			}
		}
	}
}

// C9: what comes behind the peer's close frame is discarded, be it there
// already or not; pings are not answered.
func TestClose_C9_dataBehindCloseFrame(t *testing.T) {
	eachPeer(t, socketsAndPipes, Options{}, func(t *testing.T, p *peer) {
		late := slices.Concat(p.whole(OpText, "C9"), p.whole(OpPing, "C9"), p.whole(OpBinary, strings.Repeat("x", 1000)))
		done := p.reading(0)
		p.send(p.closing(1000, ""), late)
		p.wantClose(1000)
		p.send(late)
		if p.role.server {
			p.wantEOF()
		} else {
			p.hangUp()
		}
		if v := <-done; len(v.got) > 0 || verdict(v.err) != `closed 1000 ""` {
			t.Errorf("C9 reader got %q, %v, want nothing but the close", v.got, v.err)
		}
	})
}

// C10: 200 messages and a close frame reach a slow reader, and its replies the
// peer.
func TestClose_C10_backlog(t *testing.T) {
	eachPeer(t, allTransports, Options{}, func(t *testing.T, p *peer) {
		const n = 200
		for i := range n {
			p.send(p.whole(OpText, fmt.Sprint("C10 ", i)))
		}
		p.send(p.closing(1001, ""))
		done := make(chan error, 1)
		go func() {
			for m, err := range p.c.Messages(context.Background()) {
				if err == nil {
					err = p.c.WriteMessage(context.Background(), m.Opcode, m.Data)
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		for i := range n {
			p.want(OpText, fmt.Sprint("C10 ", i))
		}
		p.wantClose(1001)
		p.hangUp()
		if err := <-done; err != nil {
			t.Errorf("C10 loop: %v", err)
		}
	})
}

// C11: a peer that never answers costs exactly CloseTimeout, whether somebody
// reads or writes, or not; one that keeps sending costs no more.
func TestClose_C11_noAnswer(t *testing.T) {
	eachPeer(t, []transport{overPipe, overNetPipe}, Options{}, func(t *testing.T, p *peer) {
		for _, timeout := range []time.Duration{0, time.Millisecond, time.Hour} {
			for _, what := range []string{"idle", "reading", "writing", "talking"} {
				q := p.again(&Options{CloseTimeout: timeout, WriteTimeout: -1, ReadLimit: 10})
				want := timeout
				if want == 0 {
					want = defaultCloseTimeout
				}
				start := time.Now()
				other := make(chan error, 1)
				switch what {
				case "idle":
					other <- net.ErrClosed
				case "reading":
					go func() { _, _, err := q.c.ReadMessage(context.Background()); other <- err }()
				case "writing":
					go func() { other <- q.c.WriteMessage(context.Background(), OpBinary, make([]byte, 1<<20)) }()
				case "talking": // nothing of it is delivered, and the limit does not matter any more
					go func() {
						for q.write(q.whole(OpBinary, strings.Repeat("C15", 10_000)), q.whole(OpPing, ""), q.part(OpText, ""), q.whole(OpContinuation, "\xff")) == nil {
							time.Sleep(want / 100)
						}
						other <- net.ErrClosed
					}()
				}
				synctest.Wait()
				if err := q.c.Close(1000, ""); !isTimeout(err) {
					t.Errorf("C11 Close while %s: %v, want os.ErrDeadlineExceeded", what, err)
				}
				wantTook(t, "C11 Close while "+what, start, want)
				if err := <-other; !errors.Is(err, net.ErrClosed) {
					t.Errorf("C11 %s: %v, want net.ErrClosed", what, err)
				}
				q.wantEnded(errClosed)
				q.leave()
				synctest.Wait()
			}
		}
	})
}

// C12: a peer that answers and keeps its TCP connection. A server ends its
// half at once, a client waits for that a little; CloseTimeout bounds both,
// all steps together.
func TestClose_C12_keepsTCP(t *testing.T) {
	eachPeer(t, bubbles, Options{}, func(t *testing.T, p *peer) {
		for _, row := range []struct{ timeout, answer, want time.Duration }{
			{time.Hour, 0, lingerTime},
			{time.Hour, time.Minute, time.Minute + lingerTime},
			{time.Second, 0, time.Second},
			{time.Second, 900 * time.Millisecond, time.Second},
			{3 * time.Second, 2 * time.Second, 3 * time.Second},
		} {
			q := p.again(&Options{CloseTimeout: row.timeout})
			start := time.Now()
			done := make(chan error, 1)
			go func() { done <- q.c.Close(1000, "") }()
			q.wantClose(1000)
			time.Sleep(row.answer)
			q.send(q.closing(1000, ""))
			var b [1]byte
			if n, err := q.nc.Read(b[:]); n > 0 || err != io.EOF {
				t.Errorf("C12 peer: read: %d, %v, want EOF", n, err)
			}
			if q.role.server {
				wantTook(t, "C12 EOF from a server", start, row.answer)
			} else {
				wantTook(t, "C12 EOF from a client", start, row.want)
			}
			if err := <-done; err != nil {
				t.Errorf("C12 Close: %v", err)
			}
			wantTook(t, fmt.Sprintf("C12 Close, CloseTimeout %v, answer after %v", row.timeout, row.answer), start, row.want)
		}
	})
}

// The same when the peer closes first, or breaks the protocol, and then does
// nothing more.
func TestClose_peerStays(t *testing.T) {
	eachPeer(t, bubbles, Options{}, func(t *testing.T, p *peer) {
		for name, row := range map[string]struct {
			wire []byte
			want time.Duration
		}{
			"C12 close frame": {p.closing(1000, ""), lingerTime},
			"C15 violation":   {p.whole(0x3, ""), defaultCloseTimeout},
		} {
			q := p.again(new(Options))
			start := time.Now()
			done := q.reading(0)
			q.send(row.wire)
			<-done
			wantTook(t, name+": end", start, row.want)
			if q.answers(); q.c.State() != StateClosed {
				t.Errorf("%s: state %v, want closed", name, q.c.State())
			}
		}
	})
}

// The peer closes while a writer of ours is stuck: our answer waits for it, but
// not longer than CloseTimeout, all steps together.
func TestClose_peerClosesBesideStuckWriter(t *testing.T) {
	eachPeer(t, bubbles, Options{}, func(t *testing.T, p *peer) {
		p = p.again(&Options{CloseTimeout: time.Second, WriteTimeout: -1})
		start := time.Now()
		writer := make(chan error, 1)
		go func() { writer <- p.c.WriteMessage(context.Background(), OpBinary, make([]byte, 2*pipeCapacity)) }()
		done := p.reading(0)
		p.send(p.closing(1000, ""))
		v := <-done
		wantTook(t, "end", start, time.Second)
		if verdict(v.err) != `closed 1000 ""` {
			t.Errorf("reader: %v, want the peer's 1000", v.err)
		}
		if err := <-writer; err != v.err {
			t.Errorf("writer: %v, want %v", err, v.err)
		}
	})
}

// C13, C14, S4: FIN and RST at every byte of a session: 1006 each time, with
// the cause, and nothing partial is delivered.
func TestClose_C13_C14_cutEverywhere(t *testing.T) {
	eachPeer(t, []transport{overTCP, overPipe, overTLS}, Options{}, func(t *testing.T, p *peer) {
		wire := slices.Concat(p.whole(OpText, "one"), p.whole(OpPing, "??"), p.part(OpBinary, "two"), p.whole(OpContinuation, strings.Repeat("x", 130)))
		ends := []int{len(p.whole(OpText, "one")), len(wire)}
		for n := range len(wire) + 1 {
			for _, fin := range []bool{true, false} {
				q := p.again(new(Options))
				done := q.reading(n)
				q.send(wire[:n])
				if fin {
					q.hangUp()
				} else {
					q.cut()
				}
				v := <-done
				if err := verdictLost(v.err); err != nil {
					t.Errorf("C13 C14 cut after %d bytes, fin=%t: %v", n, fin, err)
				}
				if fin && !errors.Is(v.err, io.ErrUnexpectedEOF) {
					t.Errorf("C13 cut after %d bytes: %v, want io.ErrUnexpectedEOF", n, v.err)
				}
				want := 0
				for _, end := range ends {
					if n >= end {
						want++
					}
				}
				if fin && len(v.got) != want || len(v.got) > want {
					t.Errorf("cut after %d bytes, fin=%t: %.100q delivered, want %d messages", n, fin, v.got, want)
				}
				q.wantEnded(v.err)
				q.leave()
			}
		}
	})
}

// C14: a reset while we write. Writers and readers agree that the connection
// is lost.
func TestClose_C14_resetWhileWriting(t *testing.T) {
	eachPeer(t, []transport{overTCP, overTLS}, Options{}, func(t *testing.T, p *peer) {
		done := p.reading(0)
		writer := make(chan error, 1)
		go func() {
			for {
				if err := p.c.WriteMessage(context.Background(), OpBinary, make([]byte, 10_000)); err != nil {
					writer <- err
					return
				}
			}
		}()
		for range 3 {
			p.read()
		}
		p.cut()
		for _, err := range []error{<-writer, (<-done).err} {
			lost := verdictLost(err)
			if lost != nil || !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("C14 %v, want 1006 for ECONNRESET or EPIPE", err)
			}
		}
		<-p.c.Context().Done()
	})
}

// loseWrite: a writer that meets a connection that the peer has left does not
// take the peer's last words from the reader.
func TestClose_lastWordsAfterFailedWrite(t *testing.T) {
	for _, tr := range []transport{overTCP, {name: "Pipe", dial: pipePair}} {
		for _, role := range roles {
			t.Run(role.name+"/"+tr.name, func(t *testing.T) {
				p := newPeer(t, role, tr, new(Options))
				p.send(p.whole(OpText, "last words"), p.closing(1001, "gone"))
				p.cut()
				var err error
				for range 1000 { // the first one may still be taken by the kernel
					if err = p.c.WriteText(context.Background(), "anybody?"); err != nil {
						break
					}
				}
				if lost := verdictLost(err); lost != nil {
					t.Fatalf("WriteText to a peer that has left: %v", lost)
				}
				if s := p.c.State(); s != StateClosing {
					t.Errorf("State = %v, want closing", s)
				}
				if err := p.c.WriteText(context.Background(), "again"); verdictLost(err) != nil {
					t.Errorf("WriteText again: %v, want 1006", err)
				}
				if _, err := p.c.Ping(context.Background()); verdictLost(err) != nil {
					t.Errorf("Ping: %v, want 1006", err)
				}
				p.wantRead(OpText, "last words")
				_, _, err = p.c.ReadMessage(context.Background())
				if verdict(err) != `closed 1001 "gone"` {
					t.Errorf("ReadMessage: %v, want the peer's 1001", err)
				}
				p.wantEnded(err)
			})
		}
	}
}

// When nobody reads them, the connection ends after CloseTimeout.
func TestClose_failedWriteAndNoReader(t *testing.T) {
	eachPeer(t, bubbles, Options{}, func(t *testing.T, p *peer) {
		p.leave()
		start := time.Now()
		err := p.c.WriteText(context.Background(), "anybody?")
		if lost := verdictLost(err); lost != nil {
			t.Fatalf("WriteText: %v", lost)
		}
		<-p.c.Context().Done()
		wantTook(t, "end", start, defaultCloseTimeout)
		p.wantEnded(p.c.ended())
	})
}

// C15: a peer that keeps sending after our close frame for its error is cut
// off after some megabytes.
func TestClose_C15_drainIsBounded(t *testing.T) {
	for _, tr := range []transport{overTCP, {name: "Pipe", dial: pipePair}} {
		for _, role := range roles {
			t.Run("C15/"+role.name+"/"+tr.name, func(t *testing.T) {
				p := newPeer(t, role, tr, &Options{CloseTimeout: time.Hour}) // only bytes end it
				done := p.reading(0)
				junk := bytes.Repeat([]byte{0xF3}, 1<<16)
				sent := 0
				for {
					n, err := p.nc.Write(junk)
					if sent += n; err != nil {
						break
					}
				}
				if sent < lingerBytes {
					t.Errorf("C15 cut off after %d bytes, want %d at least", sent, lingerBytes)
				}
				if v := <-done; verdict(v.err) != "broken 1002" {
					t.Errorf("C15 reader: %v, want 1002", v.err)
				}
			})
		}
	}
}

// C16: our close frame, with input of the peer's unread: it sees the frame,
// then FIN and no reset.
func TestClose_C16_unreadInput(t *testing.T) {
	eachPeer(t, []transport{overTCP, overPipe, overTLS}, Options{}, func(t *testing.T, p *peer) {
		for _, size := range []int{10, 5000, 60_000} {
			q := p.again(new(Options))
			q.send(q.whole(OpBinary, strings.Repeat("x", size)), q.whole(OpText, "unread"))
			if err := q.closeUs(1001, "C16"); err != nil {
				t.Errorf("C16 Close with %d bytes unread: %v", size, err)
			}
			q = p.again(new(Options)) // the same for an error of the peer's
			done := q.reading(0)
			q.send(q.whole(0x3, ""), q.whole(OpBinary, strings.Repeat("x", size)))
			q.wantClose(1002)
			q.wantEOF()
			<-done
		}
	})
}

// C18: the peer ends its half behind a message: the reply still reaches it.
func TestClose_C18_halfClosedPeer(t *testing.T) {
	eachPeer(t, []transport{overTCP, overTCPBytes, overPipe, overPipeBytes, overTLS}, Options{}, func(t *testing.T, p *peer) {
		p.send(p.whole(OpText, "C18 question"))
		p.hangUp()
		p.wantRead(OpText, "C18 question")
		if err := p.c.WriteText(context.Background(), "C18 answer"); err != nil {
			t.Errorf("C18 WriteText: %v", err)
		}
		p.want(OpText, "C18 answer")
		_, _, err := p.c.ReadMessage(context.Background())
		if verdict(err) != "lost" {
			t.Errorf("C18 ReadMessage: %v, want 1006", err)
		}
		p.wantEOF()
		p.wantEnded(err)
	})
}

// C19: TLS that ends without close_notify.
func TestClose_C19_noCloseNotify(t *testing.T) {
	eachPeer(t, []transport{overTLS}, Options{}, func(t *testing.T, p *peer) {
		p.send(p.whole(OpText, "C19"))
		p.nc.(interface{ NetConn() net.Conn }).NetConn().Close()
		p.wantRead(OpText, "C19")
		_, _, err := p.c.ReadMessage(context.Background())
		if lost := verdictLost(err); lost != nil || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("C19 ReadMessage: %v, want 1006 for io.ErrUnexpectedEOF", err)
		}
		p.wantEnded(err)
	})
}

// C17: Close and others at once, and inside hooks.
func TestClose_C17_concurrent(t *testing.T) {
	others := map[string]func(c *Conn) error{
		"Close":    func(c *Conn) error { return c.Close(1001, "") },
		"CloseNow": func(c *Conn) error { return c.CloseNow() },
		"Write":    func(c *Conn) error { return c.WriteText(context.Background(), "C17") },
		"Read":     func(c *Conn) error { _, _, err := c.ReadMessage(context.Background()); return err },
		"Ping":     func(c *Conn) error { return second(c.Ping(context.Background())) },
	}
	for name, other := range others {
		eachPeer(t, socketsAndPipes, Options{}, func(t *testing.T, p *peer) {
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					if err := p.c.Close(1000, ""); err != nil && !errors.Is(err, net.ErrClosed) {
						t.Errorf("C17 Close beside %s: %v", name, err)
					}
				})
				wg.Go(func() {
					err := other(p.c)
					if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, errConcurrentRead) {
						t.Errorf("C17 %s beside Close: %v", name, err)
					}
				})
			}
			closes := 0
			for {
				h, _, err := p.read()
				if err != nil {
					break
				}
				if closes > 0 {
					t.Errorf("C17 peer got %v after the close frame", h)
				}
				if h.Opcode == OpClose {
					closes++
					p.write(p.closing(1000, ""))
					p.hangUp()
				}
			}
			wg.Wait()
			if closes != 1 && name != "CloseNow" {
				t.Errorf("C17 Close beside %s: %d close frames, want 1", name, closes)
			}
			p.wantEnded(errClosed)
		})
	}
}

// C17: Close, CloseNow and writes inside OnPing and OnPong.
func TestClose_C17_insideHooks(t *testing.T) {
	hooks := map[string]func(c *Conn) error{
		"Close":    func(c *Conn) error { return c.Close(4000, "from a hook") },
		"CloseNow": func(c *Conn) error { return c.CloseNow() },
	}
	for name, hook := range hooks {
		eachPeer(t, allTransports, Options{}, func(t *testing.T, p *peer) {
			for _, op := range []Opcode{OpPing, OpPong} {
				for method := range readMethods {
					ran := make(chan error, 1)
					o := new(Options)
					h := func(c *Conn, payload []byte) {
						if string(payload) != "C17" {
							t.Errorf("hook got %q, want C17", payload)
						}
						ran <- hook(c)
					}
					o.OnPing, o.OnPong = h, h
					q := p.again(o)
					done := q.reading(method)
					q.send(q.part(OpText, "cut"), q.whole(op, "C17"))
					if op == OpPing {
						q.want(OpPong, "C17")
					}
					if name == "Close" {
						q.wantClose(4000)
						q.send(q.whole(OpContinuation, " off"), q.closing(4000, ""))
						q.hangUp()
					} else {
						q.wantEOF()
					}
					if err := <-ran; err != nil {
						t.Errorf("C17 %s inside a hook: %v", name, err)
					}
					if v := <-done; !errors.Is(v.err, net.ErrClosed) || len(v.got) > 0 {
						t.Errorf("C17 reader after %s inside a hook: %q, %v, want net.ErrClosed", name, v.got, v.err)
					}
					q.wantEnded(errClosed)
				}
			}
		})
	}
}

// A hook may write, and what it panics with reaches the caller of the read; the
// connection is none the worse for it.
func TestHooks(t *testing.T) {
	var p *peer
	pings, pongs := 0, 0
	o := Options{
		OnPing: func(c *Conn, payload []byte) {
			pings++
			if err := c.WriteText(context.Background(), "seen "+string(payload)); err != nil {
				p.t.Errorf("WriteText inside OnPing: %v", err)
			}
			if _, _, err := c.ReadMessage(context.Background()); err != errConcurrentRead {
				p.t.Errorf("ReadMessage inside OnPing: %v, want %v", err, errConcurrentRead)
			}
			clear(payload)
		},
		OnPong: func(*Conn, []byte) { pongs++; panic("out of a hook") },
	}
	for _, tr := range allTransports {
		for _, role := range roles {
			t.Run(role.name+"/"+tr.name, func(t *testing.T) {
				tr.run(t, func(t *testing.T) {
					p = newPeer(t, role, tr, &o)
					pings, pongs = 0, 0
					p.send(p.part(OpText, "one "), p.whole(OpPing, "a"), p.part(OpContinuation, "two "), p.whole(OpPong, "b"))
					got := make(chan any)
					go func() {
						defer func() { got <- recover() }()
						p.c.ReadMessage(context.Background())
					}()
					p.want(OpPong, "a")
					p.want(OpText, "seen a")
					if v := <-got; v != "out of a hook" {
						t.Errorf("ReadMessage panics with %v, want what the hook did", v)
					}
					p.c.opts.OnPing, p.c.opts.OnPong = nil, nil
					go p.write(p.whole(OpContinuation, "three"))
					op, msg, err := p.c.ReadMessage(context.Background())
					if err != nil || op != OpText || !strings.HasSuffix(string(msg), "three") {
						t.Errorf("ReadMessage after a panic = %v %q, %v", op, msg, err)
					}
					if pings != 1 || pongs != 1 {
						t.Errorf("%d calls of OnPing and %d of OnPong, want 1 and 1", pings, pongs)
					}
					p.wantAlive()
				})
			})
		}
	}
}

// CloseNow cuts short a Close, which says so.
func TestCloseNow_duringClose(t *testing.T) {
	eachPeer(t, socketsAndPipes, Options{}, func(t *testing.T, p *peer) {
		done := make(chan error, 2)
		go func() { done <- p.c.Close(1000, "") }()
		p.wantClose(1000)
		go func() { done <- p.c.Close(1001, "") }()
		if err := p.c.CloseNow(); err != nil {
			t.Errorf("CloseNow: %v", err)
		}
		for range 2 {
			if err := <-done; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Close cut by CloseNow: %v, want net.ErrClosed", err)
			}
		}
		p.wantEOF()
		p.wantEnded(errClosed)
	})
}

// Close tells what came instead of the peer's close frame.
func TestClose_badAnswer(t *testing.T) {
	eachPeer(t, socketsAndPipes, Options{}, func(t *testing.T, p *peer) {
		for name, row := range map[string]struct {
			wire []byte
			want string
		}{
			"nothing":     {nil, "lost"},
			"code 1005":   {p.closing(1005, ""), "broken 1002"},
			"opcode 3":    {p.whole(0x3, ""), "broken 1002"},
			"a cut frame": {p.whole(OpText, "cut off")[:7], "lost"},
		} {
			q := p.again(new(Options))
			done := make(chan error, 1)
			go func() { done <- q.c.Close(1000, "") }()
			q.wantClose(1000)
			q.send(row.wire)
			q.hangUp()
			if got := verdict(<-done); got != row.want {
				t.Errorf("Close, answered by %s: %s, want %s", name, got, row.want)
			}
			q.wantEnded(errClosed)
		}
	})
}

// The moment in which Close has begun and the reader meets what the peer sent,
// a close frame or a violation, before Close takes over: it is made here by
// hand. What the close frame says is kept, and Close does not wait for another.
func TestClose_readerMeetsCloseFrame(t *testing.T) {
	eachPeer(t, bubbles, Options{}, func(t *testing.T, p *peer) {
		p.c.end(errClosed)
		if err := p.c.peerClosed([]byte("\x10\x01theirs")); err != errClosed {
			t.Errorf("peerClosed = %v, want %v", err, errClosed)
		}
		if err := p.c.fail(errors.New("a violation")); err != errClosed {
			t.Errorf("fail = %v, want %v", err, errClosed)
		}
		if err := p.c.awaitClose(); err != nil {
			t.Errorf("awaitClose: %v", err)
		}
		p.wantIdle()
		p.c.shut()
		var ce *CloseError
		if cause := context.Cause(p.c.Context()); !errors.As(cause, &ce) || ce.Code != 4097 || ce.Reason != "theirs" {
			t.Errorf("context.Cause = %v, want the peer's 4097", cause)
		}
	})
}

// The peer answers Close in pieces that come one by one: the rest of a message,
// empty fragments, control frames, and at last its close frame.
func TestClose_slowAnswer(t *testing.T) {
	eachPeer(t, []transport{overPipe, overNetPipe}, Options{}, func(t *testing.T, p *peer) {
		p.send(p.part(OpText, "half a mess\xff")[:9])
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		p.c.ReadMessage(ctx)
		done := make(chan error, 1)
		go func() { done <- p.c.Close(1000, "") }()
		p.wantClose(1000)
		wire := slices.Concat(p.part(OpText, "half a mess\xff")[9:], p.part(OpContinuation, ""), p.whole(OpPing, "?"), p.whole(OpContinuation, ""),
			p.whole(OpBinary, ""), p.whole(OpPong, ""), p.part(OpBinary, "x"), p.closing(4000, "slowly"))
		for i := range wire {
			p.send(wire[i : i+1])
			synctest.Wait()
		}
		p.hangUp()
		if err := <-done; err != nil {
			t.Errorf("Close: %v", err)
		}
		var ce *CloseError
		if cause := context.Cause(p.c.Context()); !errors.As(cause, &ce) || ce.Reason != "slowly" {
			t.Errorf("context.Cause = %v, want the peer's 4000 slowly", cause)
		}
	})
}
