package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// Context carries the values of the one that the connection was made with, and
// not its end.
func TestConn_context(t *testing.T) {
	type key struct{}
	for _, role := range roles {
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, "value"))
		ours, theirs := netPipe()
		c := newConn(ctx, ours, !role.server, new(Options), agreement{subprotocol: "chat"}, nil)
		cancel()
		if got := c.Context().Value(key{}); got != "value" {
			t.Errorf("Context().Value = %v, want value", got)
		}
		if err := c.Context().Err(); err != nil || c.State() != StateOpen {
			t.Errorf("Context().Err() = %v, state %v; want nil, open, though the parent has ended", err, c.State())
		}
		if c.Subprotocol() != "chat" || c.NetConn() != ours || c.LocalAddr().Network() != "pipe" || c.RemoteAddr().String() != "pipe" {
			t.Errorf("Subprotocol %q, NetConn %v, addresses %v and %v", c.Subprotocol(), c.NetConn(), c.LocalAddr(), c.RemoteAddr())
		}
		c.CloseNow()
		theirs.Close()
	}
}

func TestConn_addresses(t *testing.T) {
	eachPeer(t, []transport{overTCP, overTLS}, Options{}, func(t *testing.T, p *peer) {
		if got, want := p.c.RemoteAddr().String(), p.nc.LocalAddr().String(); got != want {
			t.Errorf("RemoteAddr = %s, want %s", got, want)
		}
		if got, want := p.c.LocalAddr().String(), p.nc.RemoteAddr().String(); got != want {
			t.Errorf("LocalAddr = %s, want %s", got, want)
		}
	})
}

// The state is open until a side closes, closing while the handshake runs, and
// closed when the connection is gone.
func TestConn_state(t *testing.T) {
	eachPeer(t, bubbles, Options{}, func(t *testing.T, p *peer) {
		if s := p.c.State(); s != StateOpen {
			t.Errorf("State = %v, want open", s)
		}
		done := make(chan error, 1)
		go func() { done <- p.c.Close(1000, "") }()
		synctest.Wait()
		if s := p.c.State(); s != StateClosing || p.c.Context().Err() != nil {
			t.Errorf("State = %v during Close, context %v, want closing, nil", s, p.c.Context().Err())
		}
		p.send(p.closing(1000, ""))
		p.hangUp()
		<-done
		if s := p.c.State(); s != StateClosed || p.c.Context().Err() == nil {
			t.Errorf("State = %v after Close, context %v, want closed, ended", s, p.c.Context().Err())
		}
	})
	for s, want := range map[State]string{StateOpen: "open", StateClosing: "closing", StateClosed: "closed", 0: "state 0", 7: "state 7"} {
		if got := s.String(); got != want {
			t.Errorf("State(%d).String() = %q, want %q", s, got, want)
		}
	}
}

// Bytes that came behind the handshake are the first of the stream, however
// many they are and wherever they end.
func TestConn_bytesBehindHandshake(t *testing.T) {
	for _, tr := range []transport{overTCP, overPipe} {
		for _, role := range roles {
			t.Run(role.name+"/"+tr.name, func(t *testing.T) {
				long := strings.Repeat("behind ", 3000)
				wire := role.wire(slices.Concat(frame(Header{Fin: true, Opcode: OpText}, []byte("one")), frame(Header{Fin: true, Opcode: OpText}, []byte(long))))
				for _, n := range []int{0, 1, 2, 5, 9, 12, 100, 600, 5000, 17_000, len(wire)} {
					ours, theirs := tr.dial(t)
					behind := bytes.Clone(wire[:n])
					c := newConn(context.Background(), ours, !role.server, new(Options), agreement{}, behind)
					clear(behind)
					go theirs.Write(wire[n:])
					wantNext(t, c, OpText, "one")
					wantNext(t, c, OpText, long)
					c.CloseNow()
					theirs.Close()
				}
			})
		}
	}
}

// Messages ends without an error when the connection does in a normal way, and
// with one if not; break leaves the rest for later; so does the end of ctx.
func TestMessages(t *testing.T) {
	eachPeer(t, allTransports, Options{}, func(t *testing.T, p *peer) {
		long := strings.Repeat("long", 10_000)
		go p.write(p.whole(OpText, "one"), p.whole(OpBinary, "two"), p.whole(OpText, long), p.whole(OpText, ""), p.closing(1000, ""))
		var got []string
		for m, err := range p.c.Messages(context.Background()) {
			if err != nil {
				t.Fatalf("Messages yields %v", err)
			}
			got = append(got, fmt.Sprintf("%v %s", m.Opcode, m.Data))
			if string(m.Data) == "two" {
				break
			}
		}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		errs := 0
		for m, err := range p.c.Messages(ended) {
			if errs++; !errors.Is(err, context.Canceled) || m.Data != nil {
				t.Errorf("Messages with a context that has ended yields %q, %v", m.Data, err)
			}
		}
		if errs != 1 {
			t.Errorf("Messages with a context that has ended yields %d times, want 1", errs)
		}
		done := make(chan bool)
		go func() {
			defer close(done)
			for m, err := range p.c.Messages(p.c.Context()) {
				if err != nil {
					t.Errorf("Messages yields %v, want a normal end", err)
				}
				got = append(got, fmt.Sprintf("%v %s", m.Opcode, m.Data))
			}
		}()
		p.wantClose(1000)
		p.hangUp()
		<-done
		if want := []string{"text one", "binary two", "text " + long, "text "}; !slices.Equal(got, want) {
			t.Errorf("Messages yields %.100q, want %.100q", got, want)
		}
	})
}

// What ends the loop with an error, and what without one.
func TestMessages_ends(t *testing.T) {
	eachPeer(t, []transport{overTCP, overPipe}, Options{}, func(t *testing.T, p *peer) {
		for _, row := range []struct {
			name string
			end  func(p *peer)
			want string
		}{
			{"1000", func(p *peer) { p.send(p.closing(1000, "")) }, ""},
			{"1001", func(p *peer) { p.send(p.closing(1001, "")) }, ""},
			{"no code", func(p *peer) { p.send(p.whole(OpClose, "")) }, ""},
			{"1011", func(p *peer) { p.send(p.closing(1011, "")) }, `closed 1011 ""`},
			{"4000", func(p *peer) { p.send(p.closing(4000, "x")) }, `closed 4000 "x"`},
			{"FIN", (*peer).hangUp, "lost"},
			{"a violation", func(p *peer) { p.send(p.whole(0x3, "")) }, "broken 1002"},
			{"CloseNow", func(p *peer) { p.c.CloseNow() }, ""},
			{"Close", func(p *peer) { go p.c.Close(1000, ""); p.wantClose(1000); p.send(p.closing(1000, "")) }, ""},
		} {
			q := p.again(new(Options))
			got := make(chan []error, 1)
			go func() {
				var errs []error
				for _, err := range q.c.Messages(context.Background()) {
					errs = append(errs, err)
				}
				got <- errs
			}()
			row.end(q)
			q.answers()
			errs := <-got
			if row.want == "" && len(errs) > 0 || row.want != "" && (len(errs) != 1 || verdict(errs[0]) != row.want) {
				t.Errorf("Messages after %s yields %v, want %q", row.name, errs, row.want)
			}
		}
	})
}

// A loop's body may panic, and iter.Pull may stop it: nothing is lost or kept.
func TestMessages_stopped(t *testing.T) {
	eachPeer(t, bubbles, Options{}, func(t *testing.T, p *peer) {
		p.send(p.whole(OpText, "one"), p.whole(OpText, "two"), p.whole(OpText, "three"))
		func() {
			defer func() { recover() }()
			for range p.c.Messages(context.Background()) {
				panic("in the body")
			}
		}()
		next, stop := iter.Pull2(p.c.Messages(context.Background()))
		if m, err, ok := next(); string(m.Data) != "two" || err != nil || !ok {
			t.Errorf("next = %q, %v, %t, want two", m.Data, err, ok)
		}
		stop()
		p.wantRead(OpText, "three")
		p.wantAlive()
	})
}

// Only the newest of the pings that came while a writer was stuck is answered,
// and nothing is sent behind a close frame.
func TestPong_newestOnly(t *testing.T) {
	eachPeer(t, bubbles, Options{WriteTimeout: -1}, func(t *testing.T, p *peer) {
		const pings = 100_000
		done := p.reading(0)
		writer := make(chan error, 1)
		long := strings.Repeat("x", 2*pipeCapacity)
		go func() { writer <- p.c.WriteText(context.Background(), long) }()
		synctest.Wait()
		for i := range pings {
			p.send(p.whole(OpPing, fmt.Sprint(i)))
		}
		synctest.Wait()
		p.want(OpText, long)
		p.want(OpPong, fmt.Sprint(pings-1))
		p.wantIdle()
		if err := <-writer; err != nil {
			t.Errorf("WriteText: %v", err)
		}

		go func() { writer <- p.c.WriteText(context.Background(), long) }()
		synctest.Wait()
		p.send(p.whole(OpPing, "owed"))
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- p.c.Close(1000, "") }()
		synctest.Wait()
		p.want(OpText, long)
		p.wantClose(1000)
		p.send(p.whole(OpPing, "late"), p.closing(1000, ""))
		p.answers()
		if err := errors.Join(<-closed, <-writer); err != nil {
			t.Errorf("Close and WriteText: %v", err)
		}
		<-done
	})
}

// A pong that is owed is paid by whoever had the writing half, also if its own
// write came to nothing.
func TestPong_afterCutWrite(t *testing.T) {
	eachPeer(t, bubbles, Options{WriteTimeout: -1}, func(t *testing.T, p *peer) {
		done := p.reading(0)
		p.fill(0)
		ctx, cancel := context.WithCancel(context.Background())
		writer := make(chan error, 1)
		go func() { writer <- p.c.WriteText(ctx, "never") }()
		synctest.Wait()
		p.send(p.whole(OpPing, "owed"))
		synctest.Wait()
		cancel()
		if err := <-writer; !errors.Is(err, context.Canceled) {
			t.Errorf("WriteText: %v, want the end of its context", err)
		}
		io.ReadFull(p.nc, make([]byte, pipeCapacity))
		p.want(OpPong, "owed")
		p.closedWhileRead(done)
	})
}

// The end of a read's context cuts it also while it pays a pong to a peer that
// does not read.
func TestPong_readContext(t *testing.T) {
	eachPeer(t, bubbles, Options{WriteTimeout: time.Hour}, func(t *testing.T, p *peer) {
		p.fill(0)
		p.send(p.whole(OpPing, "owed"))
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _, err := p.c.ReadMessage(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ReadMessage: %v, want the end of its context", err)
		}
		wantTook(t, "ReadMessage", start, time.Second)
		io.ReadFull(p.nc, make([]byte, pipeCapacity))
		p.want(OpPong, "owed")
		p.wantAlive()
	})
}

// The same for a write whose message has left.
func TestPong_writeContext(t *testing.T) {
	eachPeer(t, bubbles, Options{WriteTimeout: time.Hour}, func(t *testing.T, p *peer) {
		done := p.reading(0)
		msg := strings.Repeat("x", 100)
		n := len(msg) + 2
		if !p.role.server {
			n += 4
		}
		p.fill(0)
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		writer := make(chan error, 1)
		go func() { writer <- p.c.WriteText(ctx, msg) }()
		synctest.Wait()
		p.send(p.whole(OpPing, "owed"))
		synctest.Wait()
		io.ReadFull(p.nc, make([]byte, n)) // room for the message, and not a byte more
		if err := <-writer; err != nil {
			t.Errorf("WriteText: %v, want nil: its message has left", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("WriteText took %v, want no longer than its context, 1s", took)
		}
		io.ReadFull(p.nc, make([]byte, pipeCapacity-n))
		p.want(OpText, msg)
		p.want(OpPong, "owed")
		p.closedWhileRead(done)
	})
}

// However many pings come, no more than one goroutine is there to answer them.
func TestPong_goroutines(t *testing.T) {
	for _, role := range roles {
		t.Run(role.name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			most := 0
			p := newPeer(t, role, overTCP, &Options{OnPing: func(*Conn, []byte) { most = max(most, runtime.NumGoroutine()) }})
			go io.Copy(io.Discard, p.nc)
			go p.write(bytes.Repeat(p.whole(OpPing, ""), 20_000), p.whole(OpText, "end"))
			before := runtime.NumGoroutine()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if _, msg, err := p.c.ReadMessage(ctx); string(msg) != "end" {
				t.Errorf("ReadMessage = %q, %v", msg, err)
			}
			if most > before+5 {
				t.Errorf("%d goroutines while 20,000 pings came, want not many more than %d", most, before)
			}
		})
	}
}

// S5: an error of the network at every operation, in both directions: every
// call returns, and the next one says the same.
func TestConn_errorAtEveryOperation(t *testing.T) {
	errFault := errors.New("injected fault")
	for _, role := range roles {
		wire := role.wire(slices.Concat(frame(Header{Opcode: OpText}, []byte("one ")), frame(Header{Fin: true, Opcode: OpPing}, []byte("?")),
			frame(Header{Fin: true}, []byte("two")), frame(Header{Fin: true, Opcode: OpBinary}, make([]byte, 3000)), frame(Header{Fin: true, Opcode: OpClose}, []byte{3, 0xE8})))
		for n, faulty := 0, true; faulty; n++ {
			ours, theirs := netPipe()
			nc := &faultConn{Conn: ours, after: n, err: errFault}
			c := newConn(context.Background(), nc, !role.server, new(Options), agreement{}, nil)
			theirs.Write(wire)
			theirs.(*pipeConn).CloseWrite()
			var rerr, werr error
			for rerr == nil {
				_, _, rerr = c.ReadMessage(context.Background())
				if err := c.WriteText(context.Background(), "reply"); werr == nil {
					werr = err
				}
			}
			faulty = nc.hit
			if faulty && !errors.Is(rerr, errFault) && !errors.Is(werr, errFault) && verdict(rerr) != `closed 1000 ""` {
				t.Errorf("%s, fault at operation %d: ReadMessage %v, WriteText %v, want the fault", role.name, n, rerr, werr)
			}
			if _, _, err := c.ReadMessage(context.Background()); err != rerr {
				t.Errorf("%s, fault at operation %d: ReadMessage again: %v, want %v", role.name, n, err, rerr)
			}
			if err := c.WriteText(context.Background(), "x"); err != rerr {
				t.Errorf("%s, fault at operation %d: WriteText: %v, want %v", role.name, n, err, rerr)
			}
			if c.State() != StateClosed {
				t.Errorf("%s, fault at operation %d: state %v, want closed", role.name, n, c.State())
			}
			if !faulty && rerr == nil {
				t.Errorf("%s: no error at the end", role.name)
			}
			theirs.Close()
		}
	}
}

// A faultConn fails at one of its reads and writes, and reads no more than 100
// bytes at a time.
type faultConn struct {
	net.Conn
	mu    sync.Mutex
	after int
	err   error
	hit   bool
}

func (nc *faultConn) fault() error {
	nc.mu.Lock()
	defer nc.mu.Unlock()
	if nc.after--; nc.after < 0 {
		nc.hit = true
		return nc.err
	}
	return nil
}

func (nc *faultConn) Read(b []byte) (int, error) {
	if err := nc.fault(); err != nil {
		return 0, err
	}
	return nc.Conn.Read(b[:min(len(b), 100)])
}

func (nc *faultConn) Write(b []byte) (int, error) {
	if err := nc.fault(); err != nil {
		return 0, err
	}
	return nc.Conn.Write(b)
}

// S17: ten thousand messages of all kinds, by methods chosen at random, while
// contexts end at random: the stream is whole and in order.
func TestConn_cancelledReads(t *testing.T) {
	const messages = 10_000
	for _, tr := range []transport{overTCP, {name: "Pipe", dial: pipePair}, overTLS} {
		for _, role := range roles {
			t.Run("S17/"+role.name+"/"+tr.name, func(t *testing.T) {
				t.Parallel()
				p := newPeer(t, role, tr, &Options{WriteTimeout: -1})
				go io.Copy(io.Discard, p.nc) // pongs
				go func() {
					rnd := rand.New(rand.NewPCG(17, 1))
					for i := range messages {
						msg := randomMessage(i)
						frames := [][]byte{p.whole(OpBinary, msg)}
						switch cut := rnd.IntN(len(msg) + 1); rnd.IntN(4) {
						case 0:
							frames = [][]byte{p.part(OpBinary, msg[:cut]), p.whole(OpPing, "?"), p.whole(OpContinuation, msg[cut:])}
						case 1:
							frames = [][]byte{p.part(OpBinary, ""), p.part(0, msg[:cut]), p.part(0, ""), p.part(0, msg[cut:]), p.whole(OpContinuation, "")}
						}
						wire := slices.Concat(frames...)
						cut := rnd.IntN(len(wire) + 1)
						if p.write(wire[:cut]) != nil || p.write(wire[cut:]) != nil {
							return
						}
					}
				}()
				cuts := 0
				rnd := rand.New(rand.NewPCG(17, 2))
				for i := range messages {
					msg, n, err := readPatiently(p.c, rnd)
					if cuts += n; err != nil || string(msg) != randomMessage(i) {
						t.Fatalf("message %d after %d cut reads: %.40q (%d bytes), %v, want %.40q (%d bytes)", i, cuts, msg, len(msg), err, randomMessage(i), len(randomMessage(i)))
					}
				}
				if cuts == 0 {
					t.Error("no read was cut")
				}
			})
		}
	}
}

// randomMessage returns the i-th message: most are short, some are long.
func randomMessage(i int) string {
	rnd := rand.New(rand.NewPCG(uint64(i), 3))
	n := rnd.IntN(200)
	switch rnd.IntN(50) {
	case 0:
		n = rnd.IntN(100_000)
	case 1, 2, 3:
		n = rnd.IntN(20_000)
	}
	return fmt.Sprint(i) + strings.Repeat(string(rune('a'+i%26)), n)
}

// readPatiently reads a message with contexts that end soon, again and again.
func readPatiently(c *Conn, rnd *rand.Rand) (msg []byte, cuts int, err error) {
	begun := false // by NextReader, and so it must go on
	for {
		ctx, cancel := context.Background(), func() {}
		switch rnd.IntN(3) {
		case 0:
			ctx, cancel = context.WithTimeout(ctx, time.Duration(rnd.IntN(50))*time.Microsecond)
		case 1:
			var stop context.CancelFunc
			ctx, stop = context.WithCancel(ctx)
			go stop()
		}
		var part []byte
		switch how := rnd.IntN(3); {
		case how == 0 || begun:
			var r io.Reader
			if _, r, err = c.NextReader(ctx); err == nil {
				begun = true
				part, err = io.ReadAll(r)
			}
		case how == 1:
			_, part, err = c.ReadMessage(ctx)
		default:
			_, part, err = c.AppendMessage(ctx, make([]byte, 0, 100))
		}
		cancel()
		if msg = append(msg, part...); err == nil {
			return msg, cuts, nil
		}
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			return msg, cuts, err
		}
		cuts++
	}
}

// A deadline that is set on NetConn, against the rules, is reported as what it
// is, and does not end the connection either.
func TestConn_foreignDeadline(t *testing.T) {
	eachPeer(t, []transport{overTCP, overPipe}, Options{}, func(t *testing.T, p *peer) {
		p.c.NetConn().SetReadDeadline(aLongTimeAgo)
		if _, _, err := p.c.ReadMessage(context.Background()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ReadMessage: %v, want os.ErrDeadlineExceeded", err)
		}
		p.c.NetConn().SetReadDeadline(noDeadline)
		p.wantAlive()
	})
}

// Every option has a default that is in force, and what cannot be honoured is
// refused.
func TestOptions(t *testing.T) {
	got := Options{}.withDefaults()
	if got.ReadLimit != 16<<20 || got.WriteTimeout != 10*time.Second || got.CloseTimeout != 5*time.Second || got.KeepAlive != 0 {
		t.Errorf("withDefaults = %+v, want 16 MiB, 10 s, 5 s, 0", got)
	}
	set := Options{ReadLimit: -1, WriteTimeout: -1, CloseTimeout: time.Hour, KeepAlive: -1}
	if got := set.withDefaults(); got.ReadLimit != -1 || got.WriteTimeout != -1 || got.CloseTimeout != time.Hour {
		t.Errorf("withDefaults changed what was set: %+v", got)
	}
	defer func() {
		if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "Compression") {
			t.Errorf("Pipe with a window of 2^16 bytes panics with %v, want what is wrong", v)
		}
	}()
	Pipe(nil, &Options{Compression: &Compression{ReadWindowBits: 16}})
}

// A deafConn does not know deadlines.
type deafConn struct{ net.Conn }

func (deafConn) SetReadDeadline(time.Time) error  { return nil }
func (deafConn) SetWriteDeadline(time.Time) error { return nil }

// Close comes to its end in time also over a net.Conn whose deadlines do
// nothing, beside a read that therefore cannot be cut.
func TestConn_noDeadlines(t *testing.T) {
	deaf := transport{name: "deaf", bubble: true, dial: func(testing.TB) (net.Conn, net.Conn) {
		ours, theirs := netPipe()
		return deafConn{ours}, theirs
	}}
	eachPeer(t, []transport{deaf}, Options{}, func(t *testing.T, p *peer) {
		start := time.Now()
		done := p.reading(0)
		synctest.Wait()
		if err := p.c.Close(1000, ""); !isTimeout(err) {
			t.Errorf("Close: %v, want os.ErrDeadlineExceeded", err)
		}
		wantTook(t, "Close", start, defaultCloseTimeout)
		if v := <-done; !errors.Is(v.err, net.ErrClosed) {
			t.Errorf("reader: %v, want net.ErrClosed", v.err)
		}
		p.wantEnded(errClosed)
	})
}

// The reader that NextReader returned keeps its error, and gets that of the
// connection.
func TestNextReader_ends(t *testing.T) {
	eachPeer(t, socketsAndPipes, Options{}, func(t *testing.T, p *peer) {
		ctx := context.Background()
		p.send(p.part(OpText, "begun"), p.whole(OpContinuation, "!"), p.whole(OpText, "two"), p.part(OpText, "three"))
		_, one, err := p.c.NextReader(ctx)
		if err != nil {
			t.Fatalf("NextReader: %v", err)
		}
		io.ReadFull(one, make([]byte, 3))
		p.wantRead(OpText, "two")
		for range 2 {
			if n, err := one.Read(make([]byte, 3)); n != 0 || err == nil || err == io.EOF || !strings.Contains(err.Error(), "skipped") {
				t.Errorf("Read of a message that was skipped = %d, %v, want an error that says so", n, err)
			}
		}
		_, three, err := p.c.NextReader(ctx)
		if err != nil {
			t.Fatalf("NextReader: %v", err)
		}
		if n, err := three.Read(nil); n != 0 || err != nil {
			t.Errorf("Read(nil) = %d, %v, want 0, nil", n, err)
		}
		p.hangUp()
		got, err := io.ReadAll(three)
		if string(got) != "three" || verdict(err) != "lost" {
			t.Errorf("ReadAll of a message that is cut = %q, %v, want three and 1006", got, err)
		}
		for range 2 {
			if _, again := three.Read(make([]byte, 1)); again != err {
				t.Errorf("Read again: %v, want %v", again, err)
			}
		}
		p.wantEnded(err)
	})
}

// What NextReader returns behaves as a reader should.
func TestNextReader_contract(t *testing.T) {
	eachPeer(t, socketsAndPipes, Options{}, func(t *testing.T, p *peer) {
		for _, text := range []string{"", "x", "a message of some bytes, in two fragments", strings.Repeat("long", 1000)} {
			p.send(p.part(OpText, text[:len(text)/2]), p.whole(OpPong, "between"), p.whole(OpContinuation, text[len(text)/2:]))
			_, r, err := p.c.NextReader(context.Background())
			if err != nil {
				t.Fatalf("NextReader: %v", err)
			}
			if err := iotest.TestReader(r, []byte(text)); err != nil {
				t.Errorf("TestReader: %v", err)
			}
		}
	})
}

// A fragment that cannot be sent ends the message: with nothing of it gone the
// connection goes on, else it does not.
func TestNextWriter_cutFragments(t *testing.T) {
	eachPeer(t, bubbles, Options{}, func(t *testing.T, p *peer) {
		for _, row := range []struct{ room, wrote int }{
			{0, 0}, // not the first fragment
			{MaxHeaderSize + fragmentSize, fragmentSize}, // not the second
		} {
			for _, copied := range []bool{false, true} {
				q := p.again(&Options{WriteTimeout: -1})
				q.fill(row.room)
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				w, err := q.c.NextWriter(ctx, OpBinary)
				if err != nil {
					t.Fatalf("NextWriter: %v", err)
				}
				var n int64
				if msg := make([]byte, 4*fragmentSize); copied {
					_, err = w.ReadFrom(bytes.NewReader(msg))
				} else {
					var k int
					k, err = w.Write(msg)
					n = int64(k)
				}
				if !errors.Is(err, context.DeadlineExceeded) || !copied && n != int64(row.wrote) {
					t.Errorf("write with room for %d bytes, by ReadFrom=%t: %d, %v, want %d and the end of the context", row.room, copied, n, err, row.wrote)
				}
				if again := w.Close(); !errors.Is(again, context.DeadlineExceeded) {
					t.Errorf("Close: %v, want %v", again, err)
				}
				if w.Abort() != nil || w.Close() != errWriterDone {
					t.Error("the writer is not done after Close")
				}
				if row.room > 0 {
					if err := verdictLost(q.c.ended()); err != nil {
						t.Errorf("after a fragment that was cut: %v", err)
					}
					continue
				}
				io.ReadFull(q.nc, make([]byte, pipeCapacity))
				q.wantIdle()
				q.wantAlive()
			}
		}
	})
}
