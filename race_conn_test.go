package websocket

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Two read, twenty write, some of them in fragments, one pings and one closes.
// The peer sees whole frames, each writer's messages without a gap, and nothing
// behind the close frame; every call ends with an error that makes sense. S15.
func TestConcurrent(t *testing.T) {
	for _, tr := range []transport{overTCP, {name: "Pipe", dial: pipePair}, overTLS} {
		for _, role := range roles {
			t.Run(role.name+"/"+tr.name, func(t *testing.T) {
				for round := range 5 {
					p := newPeer(t, role, tr, &Options{WriteTimeout: time.Minute})
					testConcurrent(t, p, 100*(round+1))
				}
			})
		}
	}
}

// testConcurrent closes when the peer has seen so many messages.
func testConcurrent(t *testing.T, p *peer, messages int) {
	const writers = 20
	c, ctx := p.c, context.Background()
	var wg sync.WaitGroup
	check := func(what string, err error) {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v, want net.ErrClosed", what, err)
		}
	}
	var read sync.Map // what the two readers got
	for range 2 {
		wg.Go(func() {
			for {
				_, msg, err := c.ReadMessage(ctx)
				if err == errConcurrentRead {
					continue
				}
				if err != nil {
					check("ReadMessage", err)
					return
				}
				if _, twice := read.LoadOrStore(string(msg), true); twice {
					t.Errorf("message %q was read twice", msg)
				}
			}
		})
	}
	for w := range writers {
		wg.Go(func() {
			for i := 0; ; i++ {
				msg := binary.BigEndian.AppendUint32([]byte{byte(w)}, uint32(i))
				msg = append(msg, strings.Repeat(string(rune('a'+w)), (i*37*w)%3000)...)
				err := writeSomehow(ctx, c, w, msg)
				if err != nil {
					check("write", err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for {
			if _, err := c.Ping(ctx); err != nil {
				check("Ping", err)
				return
			}
		}
	})
	enough := make(chan struct{})
	wg.Go(func() {
		<-enough
		if err := c.Close(1001, "enough"); err != nil {
			t.Errorf("Close: %v", err)
		}
	})

	var next [writers]uint32
	var message []byte
	closed := false
	for n := 0; ; {
		h, payload, err := p.read()
		if err != nil {
			if !closed || err != io.EOF {
				t.Errorf("peer: %v, close frame seen=%t, want EOF behind a close frame", err, closed)
			}
			break
		}
		if closed {
			t.Errorf("peer: %v behind the close frame", h)
		}
		switch h.Opcode {
		case OpPing:
			p.write(p.whole(OpPong, string(payload)))
			continue
		case OpClose:
			closed = true
			p.write(p.closing(1001, ""))
			p.hangUp()
			continue
		case OpContinuation:
			if message == nil {
				t.Fatalf("peer: %v outside of a message", h)
			}
		default:
			if message != nil {
				t.Fatalf("peer: %v inside a message", h)
			}
		}
		message = append(message, payload...)
		if !h.Fin {
			continue
		}
		w, i := message[0], binary.BigEndian.Uint32(message[1:])
		if i != next[w] || len(message) != 5+int(i)*37*int(w)%3000 || strings.Trim(string(message[5:]), string(rune('a'+w))) != "" {
			t.Fatalf("peer: message %d of writer %d with %.40q, want its message %d", i, w, message[5:], next[w])
		}
		next[w]++
		message = nil
		if n++; n == messages {
			close(enough)
		}
		if n%10 == 0 {
			p.write(p.whole(OpText, fmt.Sprint("message ", n)))
		}
	}
	wg.Wait()
	p.wantEnded(errClosed)
	p.leave()
}

// writeSomehow writes msg by a method that depends on who writes.
func writeSomehow(ctx context.Context, c *Conn, w int, msg []byte) error {
	switch w % 4 {
	case 0:
		return c.WriteMessage(ctx, OpBinary, msg)
	case 1:
		m, err := Prepare(OpBinary, msg)
		if err != nil {
			return err
		}
		return c.WritePrepared(ctx, m)
	}
	mw, err := c.NextWriter(ctx, OpBinary)
	if err != nil {
		return err
	}
	for piece := range slices.Chunk(msg, 1000) {
		if _, err := mw.Write(piece); err != nil {
			return errors.Join(err, mw.Close())
		}
		if w%4 == 3 {
			mw.Flush()
		}
	}
	return mw.Close()
}

// ends are the ways in which a connection comes to its end, or nearly.
var ends = []struct {
	name string
	end  func(p *peer, cancel func())
}{
	{"Close", func(p *peer, _ func()) { p.c.Close(1000, "") }},
	{"CloseNow", func(p *peer, _ func()) { p.c.CloseNow() }},
	{"ctx", func(_ *peer, cancel func()) { cancel() }},
	{"FIN", func(p *peer, _ func()) { p.hangUp() }},
	{"RST", func(p *peer, _ func()) { p.cut() }},
	{"peer close", func(p *peer, _ func()) { p.write(p.closing(1001, "")) }},
}

// S14: every two ends at once, in every situation: all calls return, with an
// error that makes sense, and there is one close frame of ours at most and
// nothing behind it.
func TestConcurrent_ends(t *testing.T) {
	situations := []string{"idle", "reading", "writing", "mid-fragment"}
	const rounds = 3
	for _, tr := range []transport{overTCP, {name: "Pipe", dial: pipePair}} {
		for _, role := range roles {
			for _, situation := range situations {
				t.Run("S14/"+role.name+"/"+tr.name+"/"+situation, func(t *testing.T) {
					t.Parallel()
					for _, a := range ends {
						for _, b := range ends {
							for range rounds {
								p := newPeer(t, role, tr, &Options{WriteTimeout: time.Minute})
								name := a.name + " and " + b.name
								ctx, cancel := context.WithCancel(context.Background())
								testEnds(t, p, name, situation, ctx, func() { a.end(p, cancel) }, func() { b.end(p, cancel) })
								cancel()
							}
						}
					}
				})
			}
		}
	}
}

func testEnds(t *testing.T, p *peer, name, situation string, ctx context.Context, a, b func()) {
	c := p.c
	var wg sync.WaitGroup
	frames := make(chan struct{}, 1)
	wg.Go(func() { p.follow(frames) })
	begun := make(chan struct{}, 1)
	wg.Go(func() {
		err := busy(ctx, c, situation, begun)
		var ce *CloseError
		if !errors.As(err, &ce) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, context.Canceled) {
			t.Errorf("%s while %s: error %v, want a CloseError, net.ErrClosed, or that of the context", name, situation, err)
		}
	})
	<-begun
	if situation != "idle" && situation != "reading" {
		<-frames
	}
	var both sync.WaitGroup
	both.Go(a)
	both.Go(b)
	both.Wait()
	c.CloseNow() // if neither ended it
	p.leave()
	wg.Wait()
	if <-c.Context().Done(); c.State() != StateClosed || c.BufferedAmount() != 0 {
		t.Errorf("%s while %s: state %v, %d bytes buffered", name, situation, c.State(), c.BufferedAmount())
	}
	if err := c.WriteText(context.Background(), "x"); err == nil || err != c.ended() {
		t.Errorf("%s while %s: WriteText: %v, want %v", name, situation, err, c.ended())
	}
}

// busy does what the situation says until it fails.
func busy(ctx context.Context, c *Conn, situation string, begun chan<- struct{}) error {
	begun <- struct{}{}
	switch situation {
	case "idle":
		return net.ErrClosed
	case "reading":
		_, _, err := c.ReadMessage(ctx)
		return err
	case "writing":
		for {
			if err := c.WriteMessage(ctx, OpBinary, make([]byte, 5000)); err != nil {
				return err
			}
		}
	}
	w, err := c.NextWriter(ctx, OpText)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = io.WriteString(w, "fragment")
		if err == nil {
			err = w.Flush()
		}
	}
	return errors.Join(err, w.Close())
}

// follow reads what comes, answers a close frame, and says when the first
// frame is there.
func (p *peer) follow(first chan<- struct{}) {
	closed := false
	defer func() {
		select {
		case first <- struct{}{}:
		default:
		}
	}()
	for {
		h, _, err := p.read()
		if err != nil {
			return
		}
		if closed {
			p.t.Errorf("peer: %v behind a close frame", h)
		}
		if h.Opcode == OpClose {
			closed = true
			p.write(p.closing(1000, ""))
			p.hangUp()
		}
		select {
		case first <- struct{}{}:
		default:
		}
	}
}

// One stalled peer does not hold up the others; its writer gives up after the
// write timeout, and Close after CloseTimeout. S7.
func TestConcurrent_stalledPeer(t *testing.T) {
	for _, role := range roles {
		t.Run("S7/"+role.name, func(t *testing.T) {
			tr := transport{name: "TCP", dial: smallTCPPair}
			o := &Options{WriteTimeout: 20 * time.Millisecond, CloseTimeout: 20 * time.Millisecond}
			m, err := Prepare(OpBinary, make([]byte, 100_000))
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for i := range 40 {
				p := newPeer(t, role, tr, o)
				wg.Go(func() {
					if i%2 == 0 { // live
						p.c.opts.WriteTimeout = time.Minute
						go p.c.WritePrepared(context.Background(), m)
						p.want(OpBinary, string(m.plain.payload))
						return
					}
					var err error
					for err == nil {
						err = p.c.WritePrepared(context.Background(), m)
					}
					if !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("WritePrepared to a stalled peer: %v, want os.ErrDeadlineExceeded", err)
					}
					if err := p.c.Close(1000, ""); !errors.Is(err, net.ErrClosed) && !isTimeout(err) {
						t.Errorf("Close towards a stalled peer: %v", err)
					}
				})
			}
			wg.Wait()
		})
	}
}
