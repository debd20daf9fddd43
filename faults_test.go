package websocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A fault is what a peer sends, and what must come of it. The names begin with
// the number of the fault in the project's list.
type fault struct {
	name  string
	wire  []byte   // as a server sends it
	want  []string // what is delivered and what is answered, as in streamRows
	rule  string   // the section that was broken
	wrong bool     // masked if it must not be, and the reverse
	limit int64    // of the reader; 0: fuzzLimit
}

// faults returns the rows of streamRows and whole families of others.
func faults(tb testing.TB) (list []fault) {
	tb.Helper()
	for _, row := range streamRows {
		list = append(list, fault{name: row.name, wire: unhex(tb, row.wire), want: row.want, rule: row.rule})
	}
	broken := func(rule, name string, wire ...[]byte) {
		list = append(list, fault{name: name, wire: slices.Concat(wire...), want: []string{"close 1002", "broken 1002"}, rule: rule})
	}
	ops := []Opcode{OpContinuation, OpText, OpBinary, OpClose, OpPing, OpPong}
	first := frame(Header{Opcode: OpBinary}, []byte("a"))
	for _, op := range ops {
		id := "F1 not masked, "
		list = append(list, fault{
			name: id + op.String(), wire: frame(Header{Fin: true, Opcode: op}, []byte("\x03\xe8")), rule: "5.1",
			want: []string{"close 1002", "broken 1002"}, wrong: true,
		})
		for rsv := byte(1); rsv < 8; rsv++ {
			broken("5.2", fmt.Sprintf("F3 RSV %03b on %v", rsv, op), first[:0:0], frame(Header{Fin: true, Rsv: rsv, Opcode: op}, nil))
		}
		for _, length := range []uint64{1 << 63, 1<<63 + 5, 1<<64 - 1} {
			head := binary.BigEndian.AppendUint64([]byte{finBit | byte(op), length64}, length)
			broken("5.2", fmt.Sprintf("F8 %v of %d bytes", op, length), head)
			broken("5.2", fmt.Sprintf("F8 %v of %d bytes inside a message", op, length), first, head)
		}
		for _, length := range []uint16{0, 125} {
			broken("5.2", fmt.Sprintf("F7 %v with %d in 16 bits", op, length), []byte{finBit | byte(op), length16, byte(length >> 8), byte(length)})
		}
		for _, length := range []uint64{0, 5, 126, 65535} {
			broken("5.2", fmt.Sprintf("F7 %v with %d in 64 bits", op, length), binary.BigEndian.AppendUint64([]byte{finBit | byte(op), length64}, length))
		}
		if op.IsControl() {
			for _, length := range []int64{126, 65536, 1<<63 - 1} {
				broken("5.5", fmt.Sprintf("F6 %v of %d bytes", op, length), AppendHeader(nil, Header{Fin: true, Opcode: op, Length: length}))
			}
			broken("5.5", fmt.Sprintf("F5 %v without FIN inside a message", op), first, frame(Header{Opcode: op}, nil))
		}
	}
	for op := Opcode(0); op < 16; op++ {
		if op.IsReserved() {
			broken("5.2", fmt.Sprintf("F4 %v, not final", op), frame(Header{Opcode: op}, nil))
			broken("5.2", fmt.Sprintf("F4 %v inside a message", op), first, frame(Header{Fin: true, Opcode: op}, []byte("x")))
		}
	}
	for _, length := range []int64{fuzzLimit + 1, 1 << 31, 1<<31 + 5, 1 << 32, 1<<32 + 5, 1 << 40, 1<<63 - 1} {
		list = append(list, fault{
			name: fmt.Sprintf("F9 declared %d", length), wire: AppendHeader(nil, Header{Fin: true, Opcode: OpBinary, Length: length}),
			want: []string{"close 1009", "broken 1009"},
		})
	}
	list = append(list, fault{
		name: "F13 a sum past 2^63 without a limit", limit: -1, want: []string{"close 1009", "broken 1009"},
		wire: slices.Concat(frame(Header{Opcode: OpBinary}, []byte("abc")), AppendHeader(nil, Header{Opcode: OpContinuation, Length: 1<<63 - 1})),
	})
	for _, bad := range []string{"ff", "c0 80", "c1 bf", "e0 80 80", "ed a0 80", "f0 80 80 80", "f4 90 80 80", "f8 88 80 80 80", "80"} {
		text := []byte("fine: ")
		text = append(text, unhex(tb, bad)...)
		for _, wire := range [][]byte{
			frame(Header{Fin: true, Opcode: OpText}, text),
			slices.Concat(frame(Header{Opcode: OpText}, text[:7]), frame(Header{Fin: true}, text[7:])),
			slices.Concat(frame(Header{Opcode: OpText}, text), frame(Header{Opcode: OpContinuation}, nil)),
		} {
			list = append(list, fault{name: fmt.Sprintf("U1 %s in %d bytes", bad, len(wire)), wire: wire, want: []string{"close 1007", "broken 1007"}, rule: "8.1"})
		}
		good := fmt.Sprintf("binary %q", text)
		list = append(list, fault{name: "U5 " + bad, wire: frame(Header{Fin: true, Opcode: OpBinary}, text), want: []string{good, "lost"}})
	}
	for _, code := range []uint16{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		broken("7.4", fmt.Sprintf("C3 %d", code), frame(Header{Fin: true, Opcode: OpClose}, []byte{byte(code >> 8), byte(code)}))
	}
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		list = append(list, fault{
			name: fmt.Sprintf("C4 %d", code), wire: frame(Header{Fin: true, Opcode: OpClose}, append([]byte{byte(code >> 8), byte(code)}, "why"...)),
			want: []string{fmt.Sprintf("close %d", code), fmt.Sprintf("closed %d %q", code, "why")},
		})
	}
	return list
}

// Every fault through a whole connection: nothing is delivered that must not
// be; the peer gets the code, once, and then FIN; the error, the context and
// every method say the same from then on; and the next connection works.
func TestFaults(t *testing.T) {
	for i, row := range faults(t) {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			j := i
			limit := row.limit
			if limit == 0 {
				limit = fuzzLimit
			}
			via := socketsAndPipes
			if i%8 == 0 && row.want[len(row.want)-1] != "lost" { // a net.Pipe has no half close
				via = allTransports
			}
			eachPeer(t, via, Options{ReadLimit: limit}, func(t *testing.T, p *peer) {
				j++
				testFault(t, p, row, j)
				if p = p.again(new(Options)); j%4 == 0 {
					p.wantAlive()
				}
			})
		})
	}
}

// testFault lets p commit the fault, while the i-th method reads.
func testFault(t *testing.T, p *peer, row fault, i int) {
	wire := p.role.wire(row.wire)
	if row.wrong {
		wire = role{server: !p.role.server}.wire(row.wire)
	}
	end := row.want[len(row.want)-1]
	done := p.reading(i)
	p.send(wire)
	if end == "lost" {
		p.hangUp()
	}
	got := p.answers()
	v := <-done
	got = append(append(got, v.got...), verdict(v.err))
	want := slices.Concat(row.want)
	slices.Sort(got) // what is delivered and what is answered have no order between them
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("% .40x:\n got %.200q\nwant %.200q", wire, got, want)
	}
	if row.rule != "" && !strings.Contains(v.err.Error(), "section "+row.rule+":") {
		t.Errorf("% .40x: %v, want section %s", wire, v.err, row.rule)
	}
	p.wantEnded(v.err)
}

// answers reads to the end of the stream, which must be in order, and ends the
// peer's half when a close frame has come, or its own was answered.
func (p *peer) answers() (list []string) {
	p.t.Helper()
	for closed := false; ; {
		h, payload, err := p.read()
		if err == io.EOF {
			p.hangUp()
			return list
		}
		if err != nil || closed {
			p.t.Errorf("peer: got %v %.80q, %v, close frame before it=%t; want frames up to a close frame, then EOF", h, payload, err, closed)
			p.leave()
			return list
		}
		switch h.Opcode {
		case OpPong:
			list = append(list, fmt.Sprintf("pong %q", payload))
		case OpClose:
			closed = true
			code := 0
			if len(payload) > 0 {
				code = int(binary.BigEndian.Uint16(payload))
			}
			list = append(list, fmt.Sprintf("close %d", code))
			if !p.role.server {
				p.hangUp() // a client waits for that
			}
		default:
			p.t.Errorf("peer: got %v %.80q, want control frames only", h, payload)
		}
	}
}

// heap returns the bytes in use, garbage not counted.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Memory follows what peers send: 1,000 that declare a message as large as the
// limit, and send a few bytes of it or none, cost a few bytes.
func TestFaults_F10_declaredLength(t *testing.T) {
	const most = 2 << 10 // bytes for each connection
	for _, row := range []struct{ name, sent string }{
		{"F10 ten bytes of it", "ten bytes."},
		{"S10 nothing of it", ""},
	} {
		for _, tr := range []transport{overTCP, {name: "Pipe", dial: pipePair}} {
			for _, role := range roles {
				t.Run(row.name+"/"+role.name+"/"+tr.name, func(t *testing.T) {
					const n = 1000
					var peers [n]*peer
					var done [n]<-chan conversation
					for i := range peers {
						p := newPeer(t, role, tr, &Options{WriteTimeout: -1})
						done[i] = p.reading(0)
						p.send(p.whole(OpPing, "ready"))
						p.want(OpPong, "ready")
						peers[i] = p
					}
					before := heap()
					for _, p := range peers {
						h := Header{Fin: true, Opcode: OpBinary, Masked: role.server, Length: defaultReadLimit}
						p.send(AppendHeader(nil, h), []byte(row.sent))
					}
					each := int64(most + 1)
					for i := 0; i < 100 && each > most; i++ { // some may still be reading
						each = (heap() - before) / n
					}
					if each > most {
						t.Errorf("%d bytes for each connection that declared %d and sent %d, want %d at most", each, defaultReadLimit, len(row.sent), most)
					}
					for i, p := range peers {
						p.cut()
						if v := <-done[i]; verdictLost(v.err) != nil {
							t.Fatal(verdictLost(v.err))
						}
					}
				})
			}
		}
	}
}

// verdictLost returns nil if err is that of a connection that was cut.
func verdictLost(err error) error {
	var ce *CloseError
	if !errors.As(err, &ce) || ce.Code != StatusAbnormalClosure || ce.Unwrap() == nil {
		return fmt.Errorf("error %v, want a *CloseError with code 1006 and a cause", err)
	}
	return nil
}

// F14: an empty message is delivered as such by every method.
func TestFaults_emptyMessages(t *testing.T) {
	eachPeer(t, socketsAndPipes, Options{}, func(t *testing.T, p *peer) {
		ctx := context.Background()
		for range 4 {
			p.send(p.part(OpBinary, ""), p.part(OpContinuation, ""), p.whole(OpContinuation, ""))
		}
		if op, msg, err := p.c.ReadMessage(ctx); op != OpBinary || msg == nil || len(msg) > 0 || err != nil {
			t.Errorf("F14 ReadMessage = %v, %#v, %v, want binary, []byte{}, nil", op, msg, err)
		}
		if op, msg, err := p.c.AppendMessage(ctx, []byte("x")); op != OpBinary || string(msg) != "x" || err != nil {
			t.Errorf("F14 AppendMessage = %v, %q, %v, want binary, x, nil", op, msg, err)
		}
		op, r, err := p.c.NextReader(ctx)
		if err != nil || op != OpBinary {
			t.Fatalf("F14 NextReader = %v, %v", op, err)
		}
		for range 2 {
			if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("F14 Read = %d, %v, want EOF", n, err)
			}
		}
		for m, err := range p.c.Messages(ctx) {
			if err != nil || m.Opcode != OpBinary || len(m.Data) > 0 {
				t.Errorf("F14 Messages yields %v %q, %v", m.Opcode, m.Data, err)
			}
			break
		}
		p.wantAlive()
	})
}

// F15: three million empty fragments end at the cap, with a flat heap. The
// peer that does not stop is reset in the end, so it is not asked for FIN.
func TestFaults_F15_emptyFragments(t *testing.T) {
	for _, tr := range []transport{overTCP, {name: "Pipe", dial: pipePair}} {
		for _, role := range roles {
			t.Run("F15/"+role.name+"/"+tr.name, func(t *testing.T) {
				p := newPeer(t, role, tr, new(Options))
				before := heap()
				done := p.reading(0)
				go func() {
					p.write(p.part(OpText, ""))
					thousand := bytes.Repeat(p.part(OpContinuation, ""), 1000)
					for range 3000 {
						if p.write(thousand) != nil {
							return
						}
					}
				}()
				p.wantClose(StatusPolicyViolation)
				v := <-done
				if len(v.got) > 0 || verdict(v.err) != "broken 1008" {
					t.Errorf("reader got %q, %v, want nothing and 1008", v.got, v.err)
				}
				if grown := heap() - before; grown > 1<<20 {
					t.Errorf("heap grew by %d bytes, want less than 1 MiB", grown)
				}
				p.wantEnded(v.err)
			})
		}
	}
}

// One fragment less than the cap is fine, and the count starts anew with each
// message.
func TestFaults_manyFragments(t *testing.T) {
	for _, role := range roles {
		t.Run("F15/"+role.name, func(t *testing.T) {
			p := newPeer(t, role, overTCP, new(Options))
			go func() {
				for range 2 {
					p.write(p.part(OpText, ""), bytes.Repeat(p.part(OpContinuation, ""), maxFragments-2), p.whole(OpContinuation, "x"))
				}
			}()
			p.wantRead(OpText, "x")
			p.wantRead(OpText, "x")
		})
	}
}

// F18: a ping inside a message is answered at once, however long the peer then
// waits, and F20: with the same bytes.
func TestFaults_pingInsideMessage(t *testing.T) {
	every := make([]byte, 125)
	for i := range every {
		every[i] = byte(i * 7)
	}
	eachPeer(t, allTransports, Options{}, func(t *testing.T, p *peer) {
		done := p.reading(2)
		p.send(p.part(OpText, "F18 "), p.whole(OpPing, "now"))
		p.want(OpPong, "now")
		p.send(p.frame(Header{}, []byte("F20"))[:3]) // in the middle of a header, or a frame
		rest := p.frame(Header{}, []byte("F20"))[3:]
		p.send(rest, p.whole(OpPing, string(every)), p.whole(OpPing, ""))
		p.want(OpPong, string(every))
		p.want(OpPong, "")
		p.send(p.whole(OpContinuation, "."), p.closing(1000, ""))
		p.wantClose(1000)
		p.hangUp()
		v := <-done
		if want := []string{`text "F18 F20."`}; !slices.Equal(v.got, want) {
			t.Errorf("reader got %q, %v, want %q", v.got, v.err, want)
		}
	})
}

// F17: masking keys that hide nothing.
func TestFaults_maskingKeys(t *testing.T) {
	for _, tr := range socketsAndPipes {
		t.Run("F17/"+tr.name, func(t *testing.T) {
			tr.run(t, func(t *testing.T) {
				p := newPeer(t, role{"server", true}, tr, new(Options))
				for _, key := range maskKeys {
					p.send(frame(Header{Fin: true, Opcode: OpText, Masked: true, Mask: key}, []byte("plain text")))
					p.wantRead(OpText, "plain text")
				}
			})
		})
	}
}

// F21: a peer that pings and never reads. What is owed is one pong; when that
// does not leave within the write timeout, the connection is lost.
func TestFaults_F21_pingFlood(t *testing.T) {
	for _, role := range roles {
		t.Run("F21/"+role.name+"/Pipe", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeer(t, role, overPipe, new(Options))
				before, start := heap(), time.Now()
				done := p.reading(0)
				pings := bytes.Repeat(p.whole(OpPing, "12345678"), 1000)
				sent := 0
				for ; sent < 1000 && p.write(pings) == nil; sent++ {
				}
				v := <-done
				if err := verdictLost(v.err); err != nil || !isTimeout(v.err) || len(v.got) > 0 {
					t.Errorf("reader: %v, want a write timeout", v.err)
				}
				if took := time.Since(start); took != defaultWriteTimeout {
					t.Errorf("lost after %v, want the write timeout", took)
				}
				if sent == 1000 {
					t.Error("all of 1,000,000 pings were taken from a peer that does not read")
				}
				if grown := heap() - before; grown > 1<<20 {
					t.Errorf("heap grew by %d bytes, want less than 1 MiB", grown)
				}
				p.wantEnded(v.err)
			})
		})
		t.Run("F21 S7/"+role.name+"/TCP", func(t *testing.T) {
			small := transport{name: "TCP", dial: smallTCPPair}
			p := newPeer(t, role, small, &Options{WriteTimeout: 50 * time.Millisecond})
			done := p.reading(0)
			pings := bytes.Repeat(p.whole(OpPing, strings.Repeat("x", 125)), 1000)
			for range 1000 {
				if p.write(pings) != nil {
					break
				}
			}
			v := <-done
			if err := verdictLost(v.err); err != nil || !isTimeout(v.err) {
				t.Errorf("reader: %v, want a write timeout", v.err)
			}
			p.wantEnded(v.err)
		})
	}
}

// smallTCPPair is tcpPair with little room in the kernel.
func smallTCPPair(tb testing.TB) (ours, theirs net.Conn) {
	ours, theirs = tcpPair(tb)
	for _, nc := range []net.Conn{ours, theirs} {
		nc.(*net.TCPConn).SetReadBuffer(4096)
		nc.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return ours, theirs
}

// F22: random bytes end in a close frame or in EOF, and never in a hang.
func TestFaults_F22_randomBytes(t *testing.T) {
	t.Parallel()
	const workers = 4
	inputs := 100_000
	if raceEnabled() { // each costs ten times as much then
		inputs /= 10
	}
	var wg sync.WaitGroup
	for w := range workers {
		rnd := rand.New(rand.NewPCG(22, uint64(w)))
		wg.Go(func() {
			for i := range inputs / workers {
				if !randomFault(t, rnd, roles[i%2]) {
					return
				}
			}
		})
	}
	wg.Wait()
}

// randomFault sends random bytes, of which half begin like a frame that may
// come.
func randomFault(t *testing.T, rnd *rand.Rand, role role) bool {
	wire := make([]byte, 1+rnd.IntN(100))
	for i := range wire {
		wire[i] = byte(rnd.Uint32())
	}
	if len(wire) > 1 && rnd.IntN(2) == 0 {
		wire[0] = byte([]Opcode{OpContinuation, OpText, OpBinary, OpClose, OpPing, OpPong}[rnd.IntN(6)]) | wire[0]&finBit
		wire[1] &^= maskBit
		if role.server {
			wire[1] |= maskBit
		}
	}
	ours, theirs := netPipe()
	c := newConn(context.Background(), ours, !role.server, &Options{ReadLimit: 100}, agreement{}, nil)
	theirs.Write(wire)
	theirs.(*pipeConn).CloseWrite()
	for {
		if _, _, err := c.ReadMessage(c.Context()); err != nil {
			break
		}
	}
	p := &peer{t: t, c: c, role: role, nc: theirs}
	closes := 0
	for {
		h, _, err := p.read()
		if h.Opcode == OpClose && err == nil {
			closes++
			continue
		}
		if err == nil && h.Opcode == OpPong && closes == 0 {
			continue
		}
		if err != io.EOF || closes > 1 || c.State() != StateClosed {
			t.Errorf("F22 % x to a %s: %v, %v, %d close frames, %v; want at most one close frame, then EOF", wire, role.name, h, err, closes, c.State())
			return false
		}
		return true
	}
}

// U2, S13: text of all kinds of code points, cut at every byte into fragments
// and reads.
func TestFaults_textCutEverywhere(t *testing.T) {
	const text = "U2 aé€😀\x00\ufeff\ufffe\U0010ffff" // U7
	eachPeer(t, socketsAndPipes, Options{}, func(t *testing.T, p *peer) {
		for i := range readMethods[:3] {
			if i > 0 {
				p = p.again(new(Options))
			}
			done := p.reading(i)
			var want []string
			for cut := range len(text) + 1 {
				p.send(p.part(OpText, text[:cut]), p.whole(OpPing, "\xff"), p.part(OpContinuation, ""), p.whole(OpContinuation, text[cut:]))
				want = append(want, fmt.Sprintf("text %q", text))
				p.want(OpPong, "\xff") // U6
			}
			p.send(p.part(OpText, ""))
			for _, b := range []byte(text) {
				p.send(p.part(OpContinuation, string(b)))
				p.send(p.frame(Header{}, []byte{b})[:0])
			}
			p.send(p.closing(1000, ""))
			p.wantClose(1000) // C8: the message that was not finished is not delivered
			p.hangUp()
			if v := <-done; !slices.Equal(v.got, want) {
				t.Errorf("reader %d got %d messages, %.300q, want %d", i, len(v.got), v.got, len(want))
			}
		}
	})
}

// U3: the first impossible byte fails the connection although 990 bytes of its
// frame have not come.
func TestFaults_textFailsAtOnce(t *testing.T) {
	eachPeer(t, allTransports, Options{}, func(t *testing.T, p *peer) {
		for i := range readMethods {
			if i > 0 {
				p = p.again(new(Options))
			}
			done := p.reading(i)
			p.send(p.frame(Header{Fin: true, Opcode: OpText}, slices.Concat([]byte("U3 text \xff"), make([]byte, 991)))[:20])
			p.wantClose(StatusInvalidPayload)
			p.hangUp()
			if v := <-done; verdict(v.err) != "broken 1007" || len(v.got) > 0 {
				t.Errorf("U3 reader %d got %q, %v, want 1007", i, v.got, v.err)
			}
		}
	})
}

// U9, A1, C6: what a caller may not send is refused, nothing of it is written,
// and the connection goes on.
func TestFaults_U9_A1_C6_refusedCalls(t *testing.T) {
	ctx := context.Background()
	eachPeer(t, wholeTransports, Options{}, func(t *testing.T, p *peer) {
		c := p.c
		for name, err := range map[string]error{
			"U9 WriteText":              c.WriteText(ctx, "\xff"),
			"U9 WriteText, cut":         c.WriteText(ctx, "a\xe2\x82"),
			"U9 WriteMessage":           c.WriteMessage(ctx, OpText, []byte{0xC0, 0x80}),
			"U9 Prepare":                second(Prepare(OpText, []byte{0x80})),
			"A1 Prepare ping":           second(Prepare(OpPing, nil)),
			"A1 WriteMessage ping":      c.WriteMessage(ctx, OpPing, nil),
			"A1 WriteMessage close":     c.WriteMessage(ctx, OpClose, []byte{3, 0xE8}),
			"A1 WriteMessage 0":         c.WriteMessage(ctx, OpContinuation, nil),
			"A1 WriteMessage 3":         c.WriteMessage(ctx, 3, nil),
			"A1 WriteMessage 0xF":       c.WriteMessage(ctx, 0xF, nil),
			"A1 WriteMessage 0x81":      c.WriteMessage(ctx, 0x81, nil),
			"A1 NextWriter pong":        second(c.NextWriter(ctx, OpPong)),
			"A1 NextWriter 0":           second(c.NextWriter(ctx, OpContinuation)),
			"C6 Close, 124 bytes":       c.Close(1000, strings.Repeat("x", 124)),
			"C6 Close 999":              c.Close(999, ""),
			"C6 Close 0":                c.Close(0, ""),
			"C6 Close 1004":             c.Close(1004, ""),
			"C6 Close 1005 with reason": c.Close(1005, "x"),
			"C6 Close 1006":             c.Close(1006, ""),
			"C6 Close 1015":             c.Close(1015, ""),
			"C6 Close 2999":             c.Close(2999, ""),
			"C6 Close 5000":             c.Close(5000, ""),
			"C6 Close, not UTF-8":       c.Close(1000, "\xff"),
		} {
			var ce *CloseError
			if err == nil || errors.Is(err, net.ErrClosed) || errors.As(err, &ce) || !strings.HasPrefix(err.Error(), "websocket: ") {
				t.Errorf("%s: error %v, want one that says what is wrong with the call", name, err)
			}
		}
		if n := c.BufferedAmount(); n != 0 {
			t.Errorf("BufferedAmount = %d after refused calls, want 0", n)
		}
		p.wantAlive()
		p.closed()
	})
}

func second[T any](_ T, err error) error { return err }

// A2: a second reader gets an error, whatever it calls, and the first one its
// message, whole.
func TestFaults_A2_secondReader(t *testing.T) {
	eachPeer(t, socketsAndPipes, Options{}, func(t *testing.T, p *peer) {
		in := make(chan struct{})
		p.c.opts.OnPing = func(*Conn, []byte) { close(in) }
		first := make(chan string)
		go func() {
			_, msg, err := p.c.ReadMessage(context.Background())
			first <- fmt.Sprintf("%s %v", msg, err)
		}()
		p.send(p.part(OpText, "A2 "), p.whole(OpPing, ""))
		<-in
		for _, call := range calls(p.c, context.Background())[:3] {
			if err := call.err(); err != errConcurrentRead {
				t.Errorf("A2 second %s: %v, want %v", call.name, err, errConcurrentRead)
			}
		}
		for _, err := range p.c.Messages(context.Background()) {
			if err != errConcurrentRead {
				t.Errorf("A2 second Messages: %v, want %v", err, errConcurrentRead)
			}
		}
		p.want(OpPong, "")
		p.send(p.whole(OpContinuation, "whole"))
		if got := <-first; got != "A2 whole <nil>" {
			t.Errorf("A2 first reader got %s, want A2 whole", got)
		}
		p.wantAlive()
	})
}

// A3: an open MessageWriter keeps other messages waiting, but no longer than
// their contexts, and not a Close.
func TestFaults_A3_openWriter(t *testing.T) {
	eachPeer(t, bubbles, Options{}, func(t *testing.T, p *peer) {
		c, ctx := p.c, context.Background()
		w, err := c.NextWriter(ctx, OpText)
		if err != nil {
			t.Fatalf("A3 NextWriter: %v", err)
		}
		short, cancel := context.WithTimeoutCause(ctx, time.Hour, errors.New("enough"))
		defer cancel()
		for _, call := range calls(c, short)[3:7] {
			if err := call.err(); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "enough") {
				t.Errorf("A3 %s beside an open writer: %v, want the end of its context", call.name, err)
			}
		}
		io.WriteString(w, "A3")
		w.Flush()
		p.wantFrame(false, OpText, "A3")

		waiting := make(chan error)
		go func() { waiting <- c.WriteText(ctx, "never") }()
		synctest.Wait()
		p.send(p.closing(1000, ""))
		if err := c.Close(1000, ""); err != nil {
			t.Errorf("A3 Close with a writer open: %v", err)
		}
		if err := <-waiting; !errors.Is(err, net.ErrClosed) {
			t.Errorf("A3 WriteText that waited: %v, want net.ErrClosed", err)
		}
		if err := w.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("A3 Close of the writer: %v, want net.ErrClosed", err)
		}
		p.wantClose(1000)
	})
}

// A4: after Close, and after CloseNow, every method says net.ErrClosed.
func TestFaults_A4_callsAfterClose(t *testing.T) {
	eachPeer(t, allTransports, Options{}, func(t *testing.T, p *peer) {
		if err := p.closeUs(1000, "A4"); err != nil {
			t.Errorf("A4 Close: %v", err)
		}
		p.wantEnded(errClosed)

		p = p.again(new(Options))
		if err := p.c.CloseNow(); err != nil {
			t.Errorf("A4 CloseNow: %v", err)
		}
		p.wantEnded(errClosed)
		p.wantEOF()
	})
}

// A5: a caller may change its slice when the write has returned, and finds it
// as it left it, at every size.
func TestFaults_A5_callersSlice(t *testing.T) {
	eachPeer(t, wholeTransports, Options{}, func(t *testing.T, p *peer) {
		for _, size := range []int{1, 125, 126, 16 << 10, 16<<10 + 1, 65535, 65536, 300_000} {
			msg := make([]byte, size)
			for i := range msg {
				msg[i] = byte(i * 13)
			}
			want := string(msg)
			sent := make(chan bool)
			go func() {
				defer close(sent)
				for range 2 {
					if err := p.c.WriteMessage(context.Background(), OpBinary, msg); err != nil {
						t.Errorf("A5 WriteMessage: %v", err)
					}
					if string(msg) != want {
						t.Errorf("A5 WriteMessage of %d bytes changed them", size)
					}
				}
				clear(msg)
			}()
			p.want(OpBinary, want)
			p.want(OpBinary, want)
			<-sent
		}
	})
}

// A6, S16: a write that is cut after n bytes of its frame, by its context and
// by the write timeout. With none of them gone, the connection goes on and
// nothing was sent; after that it is lost, and the error says so.
func TestFaults_A6_cutWrites(t *testing.T) {
	prepared, err := Prepare(OpBinary, []byte("prepared message"))
	if err != nil {
		t.Fatal(err)
	}
	type write func(ctx context.Context, c *Conn) error
	for name, write := range map[string]write{
		"WriteMessage":  func(ctx context.Context, c *Conn) error { return c.WriteMessage(ctx, OpText, []byte("a message")) },
		"WritePrepared": func(ctx context.Context, c *Conn) error { return c.WritePrepared(ctx, prepared) },
		"Ping":          func(ctx context.Context, c *Conn) error { return second(c.Ping(ctx)) },
		"MessageWriter": func(ctx context.Context, c *Conn) error {
			w, err := c.NextWriter(ctx, OpText)
			if err != nil {
				return err
			}
			io.WriteString(w, "one fragment")
			return w.Close()
		},
	} {
		eachPeer(t, bubbles, Options{}, func(t *testing.T, p *peer) {
			for _, byTimeout := range []bool{false, true} {
				for room := range 10 { // all frames are longer
					q := p.again(&Options{WriteTimeout: time.Minute})
					ctx, why := context.Background(), os.ErrDeadlineExceeded
					if !byTimeout {
						var cancel func()
						ctx, cancel = context.WithTimeout(ctx, time.Second)
						defer cancel()
						why = context.DeadlineExceeded
					}
					q.fill(room)
					err := write(ctx, q.c)
					what := fmt.Sprintf("A6 %s cut after %d bytes by timeout=%t", name, room, byTimeout)
					if !errors.Is(err, why) {
						t.Fatalf("%s: %v, want %v", what, err, why)
					}
					q.nc.(*pipeConn).Read(make([]byte, pipeCapacity-room))
					if room == 0 {
						q.wantIdle()
						q.wantAlive()
						continue
					}
					if err := verdictLost(err); err != nil {
						t.Errorf("%s: %v", what, err)
					}
					if rest, _ := io.ReadAll(q.nc); len(rest) != room {
						t.Errorf("%s: peer got % x, want %d bytes", what, rest, room)
					}
					q.wantEnded(q.c.ended())
				}
			}
		})
	}
}

// fill leaves room for so many bytes in the pipe from the Conn to the peer.
func (p *peer) fill(room int) { p.c.nc.Write(make([]byte, pipeCapacity-room)) }

// A7: reads that are cut at every byte of a stream go on from there, by every
// method, and nothing is lost or doubled.
func TestFaults_A7_cutReads(t *testing.T) {
	eachPeer(t, []transport{overPipe, overNetPipe}, Options{}, func(t *testing.T, p *peer) {
		long := strings.Repeat("long ", 200)
		wire := slices.Concat(
			p.part(OpText, "A7 é"), p.whole(OpPing, "between"), p.part(OpContinuation, ""), p.whole(OpContinuation, "ß"),
			p.whole(OpBinary, ""), p.whole(OpPong, "unasked"), p.whole(OpBinary, long))
		want := []string{`text "A7 éß"`, `binary ""`, fmt.Sprintf("binary %q", long)}
		for method := range 3 {
			var got []string
			var part []byte // of a message that NextReader delivers
			var reader io.Reader
			var kind Opcode
			read := func(ctx context.Context) error {
				op, msg, err := kind, part, error(nil)
				switch method {
				case 0:
					op, msg, err = p.c.ReadMessage(ctx)
				case 1:
					op, msg, err = p.c.AppendMessage(ctx, make([]byte, 0, 3))
				case 2:
					if kind, reader, err = p.c.NextReader(ctx); err != nil {
						return err
					}
					msg, err = io.ReadAll(reader)
					part = append(part, msg...)
					op, msg = kind, part
				}
				if err == nil {
					got, part = append(got, fmt.Sprintf("%v %q", op, msg)), nil
				}
				return err
			}
			for i := range wire {
				p.send(wire[i : i+1])
				for {
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					err := read(ctx)
					cancel()
					if err == nil {
						continue
					}
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Fatalf("A7 read after byte %d of %d: %v, want the end of its context", i+1, len(wire), err)
					}
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("A7 method %d got %.300q, want %.300q", method, got, want)
			}
			p.want(OpPong, "between")
		}
	})
}

// A8: what is left in pooled buffers, which TestMain poisons, shows up neither
// on the wire nor in messages, also after errors.
func TestFaults_A8_pooledBuffers(t *testing.T) {
	poison := bytes.Repeat([]byte{0xDB}, 8)
	eachPeer(t, wholeTransports, Options{}, func(t *testing.T, p *peer) {
		short, cancel := context.WithCancel(context.Background())
		cancel()
		for _, size := range []int{0, 31, 33, 500, 8192, 16370, 20_000, 70_000} {
			msg := bytes.Repeat([]byte("clean"), size/5+1)[:size]
			go p.write(p.whole(OpBinary, string(msg)), p.part(OpBinary, string(msg)), p.whole(OpContinuation, string(msg)), p.whole(OpBinary, string(msg)))
			_, _, err := p.c.ReadMessage(short)
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("A8 ReadMessage with a context that has ended: %v", err)
			}
			n := 0
			for m, err := range p.c.Messages(context.Background()) {
				if err != nil || bytes.Contains(m.Data, poison) || len(m.Data) != size && len(m.Data) != 2*size {
					t.Fatalf("A8 message of %d bytes, want %d, poison=%t, %v", len(m.Data), size, bytes.Contains(m.Data, poison), err)
				}
				if n++; n == 3 {
					break
				}
			}
			written := make(chan error, 1)
			go func() {
				w, err := p.c.NextWriter(context.Background(), OpBinary)
				if err == nil {
					w.Write(msg)
					w.Write(msg)
					w.Flush()
					err = w.Close()
				}
				written <- errors.Join(err, p.c.WriteMessage(context.Background(), OpBinary, msg))
			}()
			for total := 0; total < 3*size; {
				h, payload, err := p.read()
				if err != nil || bytes.Contains(payload, poison) {
					t.Fatalf("A8 peer got %v, poison=%t, %v", h, bytes.Contains(payload, poison), err)
				}
				total += len(payload)
			}
			if size == 0 {
				p.want(OpBinary, "")
				p.want(OpBinary, "")
			}
			if err := <-written; err != nil {
				t.Fatalf("A8 writes: %v", err)
			}
		}
	})
}
