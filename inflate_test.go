package websocket

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

var (
	withTakeover    = Compression{}.withDefaults()
	withoutTakeover = Compression{NoReadTakeover: true}.withDefaults()
)

// refused1007 is what comes of compressed data that is none.
var refused1007 = []string{"close 1007", "broken 1007"}

// compressedRows are streams as in streamRows, with compression agreed on.
// Those of the RFC are examples in RFC 7692, section 7.2.3.
var compressedRows = []struct {
	name, wire string
	takeover   bool
	want       []string
	rule       string
}{
	{"RFC Hello", "c1 07 f2 48 cd c9 c9 07 00", true, []string{`text "Hello"`, "lost"}, ""},
	{"RFC Hello in two fragments", "41 03 f2 48 cd 80 04 c9 c9 07 00", true, []string{`text "Hello"`, "lost"}, ""},
	{"RFC Hello and Hello with the window of the first", "c1 07 f2 48 cd c9 c9 07 00 c1 05 f2 00 11 00 00", true, []string{`text "Hello"`, `text "Hello"`, "lost"}, ""},
	{"RFC stored block", "c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00", true, []string{`text "Hello"`, "lost"}, ""},
	{"Z4 RFC block with BFINAL", "c1 08 f3 48 cd c9 c9 07 00 00", true, []string{`text "Hello"`, "lost"}, ""},
	{"RFC two blocks", "c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00", true, []string{`text "Hello"`, "lost"}, ""},
	{"RFC empty message", "c1 01 00", true, []string{`text ""`, "lost"}, ""},

	{"Z1 RSV1 on a continuation", "41 03 f2 48 cd c0 04 c9 c9 07 00", true, []string{"close 1002", "broken 1002"}, "5.2"},
	{"Z1 RSV1 on a ping", "c9 00", true, []string{"close 1002", "broken 1002"}, "5.2"},
	{"Z1 RSV1 on a pong", "ca 00", true, []string{"close 1002", "broken 1002"}, "5.2"},
	{"Z1 RSV1 on a close", "c8 00", true, []string{"close 1002", "broken 1002"}, "5.2"},
	{"Z1 RSV2 beside RSV1", "e1 07 f2 48 cd c9 c9 07 00", true, []string{"close 1002", "broken 1002"}, "5.2"},
	{"Z1 RSV3", "91 00", true, []string{"close 1002", "broken 1002"}, "5.2"},

	{"Z2 reserved kind of block", "c1 01 06", true, refused1007, "7.2.2"},
	{"Z2 garbage", "c1 04 ff ff ff ff", true, refused1007, "7.2.2"},
	{"Z2 truncated", "c1 03 f2 48 cd", true, refused1007, "7.2.2"},
	{"Z2 stored block with bad lengths", "c1 06 00 05 00 05 00 48", true, refused1007, "7.2.2"},
	{"Z2 stored block that is too short", "c2 0a 00 15 00 ea ff 48 65 6c 6c 6f", true, refused1007, "7.2.2"},
	{"Z2 bad Huffman tree", "c1 04 05 e0 81 08", true, refused1007, "7.2.2"},
	{"Z2 after a good message", "c1 07 f2 48 cd c9 c9 07 00 c1 01 06", true, []string{`text "Hello"`, "close 1007", "broken 1007"}, "7.2.2"},
	{"Z2 the bytes that must be removed are still there", "c1 0b f2 48 cd c9 c9 07 00 00 00 ff ff", true, refused1007, "7.2.2"},
	{"RFC another empty block behind them", "c1 0c f2 48 cd c9 c9 07 00 00 00 ff ff 00", true, []string{`text "Hello"`, "lost"}, ""},

	{"Z4 no bytes at all", "c1 00", true, []string{`text ""`, "lost"}, ""},
	{"Z4 no bytes in fragments", "42 00 00 00 80 00", true, []string{`binary ""`, "lost"}, ""},
	{"Z4 empty fragments between", "41 00 00 03 f2 48 cd 00 00 00 04 c9 c9 07 00 80 00", true, []string{`text "Hello"`, "lost"}, ""},
	{"Z4 fragments of a byte", "41 01 f2 00 01 48 00 01 cd 00 01 c9 00 01 c9 00 01 07 80 01 00", true, []string{`text "Hello"`, "lost"}, ""},
	{"Z4 BFINAL without the byte behind it", "c1 07 f3 48 cd c9 c9 07 00", true, []string{`text "Hello"`, "lost"}, ""},
	{"Z4 BFINAL and an empty last frame", "41 07 f3 48 cd c9 c9 07 00 80 00", true, []string{`text "Hello"`, "lost"}, ""},
	{"Z4 two blocks with BFINAL", "c1 0f f3 48 cd c9 c9 07 00 f3 48 cd c9 c9 07 00 00", true, []string{`text "HelloHello"`, "lost"}, ""},
	{"Z4 a reference over a block with BFINAL", "c1 0c f3 48 cd c9 c9 07 00 f2 00 11 00 00", true, []string{`text "HelloHello"`, "lost"}, ""},
	{"Z4 a reference over a block with BFINAL, no takeover", "c1 0c f3 48 cd c9 c9 07 00 f2 00 11 00 00", false, []string{`text "HelloHello"`, "lost"}, ""},
	{"Z4 a message after BFINAL", "c1 08 f3 48 cd c9 c9 07 00 00 c1 05 f2 00 11 00 00", true, []string{`text "Hello"`, `text "Hello"`, "lost"}, ""},
	{"Z4 garbage after BFINAL", "c1 08 f3 48 cd c9 c9 07 00 06", true, refused1007, "7.2.2"},

	{"Z5 reference before the start", "c1 05 f2 00 11 00 00", true, refused1007, "7.2.2"},
	{"Z5 reference into the last message, no takeover", "c1 07 f2 48 cd c9 c9 07 00 c1 05 f2 00 11 00 00", false, []string{`text "Hello"`, "close 1007", "broken 1007"}, "7.2.2"},
	{"Z6 plain message between", "c1 07 f2 48 cd c9 c9 07 00 81 02 48 69 c1 05 f2 00 11 00 00", true, []string{`text "Hello"`, `text "Hi"`, `text "Hello"`, "lost"}, ""},
	{"Z6 fragmented plain message between", "c1 07 f2 48 cd c9 c9 07 00 01 02 48 69 80 01 21 c1 05 f2 00 11 00 00", true, []string{`text "Hello"`, `text "Hi!"`, `text "Hello"`, "lost"}, ""},
	{"Z7 ping between fragments", "41 03 f2 48 cd 89 01 70 80 04 c9 c9 07 00", true, []string{`pong "p"`, `text "Hello"`, "lost"}, ""},
	{"Z7 close between fragments", "41 03 f2 48 cd 88 02 03 e8", true, []string{"close 1000", `closed 1000 ""`}, ""},
	{"F12 text inside a compressed message", "41 03 f2 48 cd 81 01 61", true, []string{"close 1002", "broken 1002"}, "5.4"},
	{"C13 cut in a compressed message", "41 03 f2 48 cd", true, []string{"lost"}, ""},

	// Stored blocks: 00, the length and its complement.
	{"U8 FF", "c1 07 00 01 00 fe ff ff 00", true, []string{"close 1007", "broken 1007"}, "8.1"},
	{"U8 cut at the end", "c1 08 00 02 00 fd ff 61 c3 00", true, []string{"close 1007", "broken 1007"}, "8.1"},
	{"U8 a code point in two blocks and fragments", "41 06 00 01 00 fe ff c3 80 07 00 01 00 fe ff a9 00", true, []string{`text "é"`, "lost"}, ""},
	{"U8 cut, then a message that would complete it", "c1 07 00 01 00 fe ff c3 00 c1 07 00 01 00 fe ff a9 00", true, []string{"close 1007", "broken 1007"}, "8.1"},
	{"U8 FF in binary", "c2 07 00 01 00 fe ff ff 00", true, []string{`binary "\xff"`, "lost"}, ""},
	{"U8 plain text is still checked", "81 01 ff", true, []string{"close 1007", "broken 1007"}, "8.1"},
}

func (nc fuzzConn) agreeing(takeover bool) *fuzzConn {
	nc.compression = &withoutTakeover
	if takeover {
		nc.compression = &withTakeover
	}
	return &nc
}

// Every stream through a whole Conn, by all read methods and in pieces of all
// kinds. A stream that breaks a rule does so however it is read.
func TestInflate(t *testing.T) {
	for _, row := range compressedRows {
		for _, role := range roles {
			t.Run(row.name+"/"+role.name, func(t *testing.T) {
				wire := role.wire(unhex(t, row.wire))
				whole := receiveAll(t, fuzzConn{in: wire}.agreeing(row.takeover), role.server, nil)
				if !slices.Equal(whole.events, row.want) {
					t.Fatalf("% .40x:\n got %.200q\nwant %.200q", wire, whole.events, row.want)
				}
				if row.rule != "" && !strings.Contains(whole.err, "section "+row.rule+":") {
					t.Errorf("% .40x: %s, want section %s", wire, whole.err, row.rule)
				}
				for _, splits := range [][]byte{nil, {1}, {0x81}, {4}, {0x8A, 3}} {
					for _, calls := range [][]byte{nil, {1, 2}, {1, 0}, {2}, {3, 7, 0, 1}, {1, 14, 0}} {
						nc := fuzzConn{in: wire, splits: splits}.agreeing(row.takeover)
						if got := receiveAll(t, nc, role.server, calls); !got.agrees(whole) {
							t.Errorf("% .40x, splits % x, calls % x:\n got %.200q\nwant %.200q", wire, splits, calls, got, whole)
						}
					}
				}
			})
		}
	}
}

// The same over all transports: the peer gets the code, once, and then FIN.
func TestFaults_Z_compressed(t *testing.T) {
	for i, row := range compressedRows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			o := Options{ReadLimit: fuzzLimit, Compression: &Compression{NoReadTakeover: !row.takeover}}
			j := i
			eachPeer(t, socketsAndPipes, o, func(t *testing.T, p *peer) {
				j++
				testFault(t, p, fault{wire: unhex(t, row.wire), want: row.want, rule: row.rule}, j)
			})
		})
	}
}

// deflated returns the payload of a compressed message by compress/flate, cut
// off of what a Flush leaves at the end.
func deflated(tb testing.TB, content []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err == nil {
		_, err = w.Write(content)
	}
	if err = errors.Join(err, w.Flush()); err != nil {
		tb.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte(syncTail))
}

// compressed returns the frames of a compressed message, one for each piece.
func (p *peer) compressed(op Opcode, pieces ...[]byte) (wire []byte) {
	for i, piece := range pieces {
		h := Header{Fin: i == len(pieces)-1, Opcode: OpContinuation}
		if i == 0 {
			h.Opcode, h.Rsv = op, RSV1
		}
		wire = append(wire, p.frame(h, piece)...)
	}
	return wire
}

// pieces cuts b into pieces of n bytes.
func pieces(b []byte, n int) [][]byte { return slices.Collect(slices.Chunk(b, n)) }

// Z3: what inflates to more than the limit is refused when it passes it, by
// every method, however it is cut, and with little memory.
func TestFaults_Z3_bomb(t *testing.T) {
	const limit = 64 << 10
	most := int64(16 * limit)
	if raceEnabled() { // sync.Pool then forgets things at random
		most *= 4
	}
	bomb := deflated(t, make([]byte, 32<<20))
	if len(bomb) > 64<<10 {
		t.Fatalf("the bomb has %d bytes, want few", len(bomb))
	}
	for name, cut := range map[string][][]byte{"one frame": {bomb}, "fragments of a byte": pieces(bomb, 1)} {
		for i := range readMethods {
			t.Run(fmt.Sprintf("%s/method %d", name, i), func(t *testing.T) {
				eachPeer(t, []transport{overTCP, overPipe}, Options{ReadLimit: limit, Compression: &Compression{}}, func(t *testing.T, p *peer) {
					wire := p.compressed(OpBinary, cut...)
					before := allocated()
					done := p.reading(i)
					go p.write(wire)
					p.wantClose(StatusMessageTooBig)
					p.hangUp()
					v := <-done
					if !errors.Is(v.err, ErrMessageTooBig) || len(v.got) > 0 {
						t.Errorf("Z3 read %.80q, %v, want ErrMessageTooBig", v.got, v.err)
					}
					// All that was ever allocated, garbage and pools included,
					// and the peer's copy of the wire.
					if n := allocated() - before - int64(len(wire)); n > most {
						t.Errorf("Z3 %d bytes were allocated for a limit of %d", n, limit)
					}
				})
			})
		}
	}
}

// allocated returns the bytes that were allocated so far.
func allocated() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.TotalAlloc)
}

// The limit counts what comes out, to the byte.
func TestInflate_limit(t *testing.T) {
	for _, size := range []int{1000, 100_000} {
		for over := range 2 {
			for i := range readMethods {
				o := Options{ReadLimit: int64(size), Compression: &Compression{}}
				eachPeer(t, []transport{overPipe}, o, func(t *testing.T, p *peer) {
					content := jsonText(rand.New(rand.NewSource(1)), size+over)
					done := p.reading(i)
					p.send(p.compressed(OpText, pieces(deflated(t, content), 777)...))
					want := []string{fmt.Sprintf("text %q", content)}
					if over > 0 {
						want = nil
						p.wantClose(StatusMessageTooBig)
						p.cut()
					} else {
						p.send(p.closing(StatusNormalClosure, ""))
						p.wantClose(StatusNormalClosure)
						p.hangUp()
					}
					if v := <-done; !slices.Equal(v.got, want) {
						t.Errorf("limit %d: %d bytes came as %.80q, %v", size, size+over, v.got, v.err)
					}
				})
			}
		}
	}
}

// Windows are what was agreed on: a message may refer to the first byte in it
// and to none before.
func TestInflate_Z5_windows(t *testing.T) {
	for bits := minWindowBits; bits <= maxWindowBits; bits++ {
		for far := range 2 {
			if 1<<bits+far > 1<<maxWindowBits {
				continue // DEFLATE cannot say it
			}
			o := Options{Compression: &Compression{ReadWindowBits: bits}}
			eachPeer(t, []transport{overPipe}, o, func(t *testing.T, p *peer) {
				size := 1 << bits
				first := make([]byte, size+1) // its bytes are told apart by their distance
				for i := range first {
					first[i] = byte(i*7 + i>>8)
				}
				distance := uint16(size + far)
				second := repeatBlock(4, distance)
				p.send(p.compressed(OpBinary, deflated(t, first)))
				p.wantRead(OpBinary, string(first))
				p.send(p.compressed(OpBinary, second))
				want := string(first[len(first)-int(distance):][:4])
				if far == 0 {
					p.wantRead(OpBinary, want)
					return
				}
				done := p.reading(0)
				p.wantClose(StatusInvalidPayload)
				if v := <-done; verdict(v.err) != "broken 1007" {
					t.Errorf("Z5 a repeat from %d bytes back, in a window of %d: %.80q, %v, want 1007", distance, size, v.got, v.err)
				}
			})
		}
	}
}

// repeatBlock returns a message that is a repeat, in the codes of RFC 1951,
// section 3.2.6.
func repeatBlock(length, distance uint16) []byte {
	out := make([]byte, 32)
	c := coder{repeats: []repeat{{0, length, distance}, {}}}
	rest, b := c.encode(out, bitBuffer{}.add(1<<1, 3), make([]byte, length), &fixedLiterals, &fixedDistances)
	d := deflater{pending: b}
	return d.flush(out[:len(out)-len(rest)])
}

// mixedWire is a stream of compressed and plain messages that refer to each
// other, one of them with more compressed bytes than are gathered at once, and
// what it holds.
func (p *peer) mixedWire() (wire []byte, want []string) {
	rnd := rand.New(rand.NewSource(1))
	random := make([]byte, 3*bufferSize/2)
	rnd.Read(random)
	d := newDeflater(defaultWindowBits)
	for i, m := range [][]byte{jsonText(rnd, 300), []byte("A7 é, and again A7 é"), nil, random, jsonText(rnd, 900), jsonText(rnd, 900)} {
		op := OpBinary
		if utf8.Valid(m) {
			op = OpText
		}
		want = append(want, fmt.Sprintf("%v %q", op, m))
		if i == 4 {
			wire = append(wire, p.whole(op, string(m))...)
			continue
		}
		n := 1 + i*4000
		wire = append(wire, p.compressed(op, pieces(deflateMessage(d, true, m), n)...)...)
		wire = append(wire, p.whole(OpPing, "between")...)
	}
	return wire, want
}

// A7: reads of compressed messages that are cut anywhere go on from there, by
// every method, and nothing is lost or doubled.
func TestFaults_A7_cutInflation(t *testing.T) {
	eachPeer(t, []transport{overPipe, overNetPipe}, Options{Compression: &Compression{}}, func(t *testing.T, p *peer) {
		go io.Copy(io.Discard, p.nc) // pongs
		for method := range 3 {
			wire, want := p.mixedWire()
			r := &resumed{c: p.c, method: method}
			for i := 0; i < len(wire); {
				n := 1
				if i > 1000 && i%1000 < 900 { // time is fake, but not free
					n = 97
				}
				n = min(n, len(wire)-i)
				p.send(wire[i : i+n])
				i += n
				if err := r.readAll(); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("A7 read after byte %d of %d: %v, want the end of its context", i, len(wire), err)
				}
			}
			if !slices.Equal(r.got, want) {
				t.Errorf("A7 method %d got %.300q, want %.300q", method, r.got, want)
			}
		}
	})
}

// A resumed reads messages by a method whose contexts end all the time.
type resumed struct {
	c      *Conn
	method int
	got    []string
	part   []byte // of a message that NextReader delivers
}

// readAll reads what there is.
func (r *resumed) readAll() error {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		op, msg, err := r.read(ctx)
		cancel()
		if err != nil {
			return err
		}
		r.got = append(r.got, fmt.Sprintf("%v %q", op, msg))
	}
}

func (r *resumed) read(ctx context.Context) (Opcode, []byte, error) {
	switch r.method {
	case 0:
		return r.c.ReadMessage(ctx)
	case 1:
		return r.c.AppendMessage(ctx, make([]byte, 0, 3))
	}
	op, stream, err := r.c.NextReader(ctx)
	if err != nil {
		return 0, nil, err
	}
	msg, err := io.ReadAll(stream)
	if r.part = append(r.part, msg...); err != nil {
		return 0, nil, err
	}
	msg, r.part = r.part, nil
	return op, msg, nil
}

// A connection that ends while a compressed message is half inflated leaves no
// goroutine behind, whoever ends it and however: the bubble would tell.
func TestInflate_endsInside(t *testing.T) {
	ends := map[string]func(p *peer){
		"CloseNow": func(p *peer) { p.c.CloseNow() },
		"Close": func(p *peer) {
			closed := make(chan error)
			go func() { closed <- p.c.Close(StatusNormalClosure, "") }()
			p.wantClose(StatusNormalClosure)
			p.send(p.whole(OpContinuation, ""), p.closing(StatusNormalClosure, ""))
			p.hangUp()
			if err := <-closed; err != nil {
				p.t.Errorf("Close: %v", err)
			}
		},
		"cut":         func(p *peer) { p.cut() },
		"peer closes": func(p *peer) { p.send(p.closing(StatusGoingAway, "")); p.wantClose(StatusGoingAway); p.hangUp() },
		"fault":       func(p *peer) { p.send(p.whole(OpText, "in a message")); p.wantClose(StatusProtocolError); p.hangUp() },
	}
	for name, end := range ends {
		for _, reading := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/reading=%t", name, reading), func(t *testing.T) {
				eachPeer(t, []transport{overPipe}, Options{Compression: &Compression{}}, func(t *testing.T, p *peer) {
					content := jsonText(rand.New(rand.NewSource(1)), 5000)
					p.send(p.frame(Header{Rsv: RSV1, Opcode: OpText}, append(deflated(t, content), syncTail...)))
					_, r, err := p.c.NextReader(context.Background())
					if err == nil {
						_, err = io.ReadFull(r, make([]byte, 100))
					}
					if err != nil || p.c.in.z.aside == nil {
						t.Fatalf("reading 100 bytes of a message under way: %v, by a goroutine = %t, want true", err, p.c.in.z.aside != nil)
					}
					done := make(chan error, 1)
					if reading || name != "CloseNow" && name != "Close" { // else nobody sees it
						go func() {
							_, err := io.Copy(io.Discard, r)
							done <- err
						}()
						synctest.Wait()
					} else {
						done <- errClosed
					}
					end(p)
					if err := <-done; err == nil {
						t.Errorf("the read of half a message ends without an error")
					}
					<-p.c.Context().Done()
				})
			})
		}
	}
}

// What a fragment brings is delivered before the message ends, if its sender
// flushed it; and what is not read of a message is judged, and remembered, as
// if it were.
func TestInflate_prompt(t *testing.T) {
	eachPeer(t, []transport{overPipe, overTLS}, Options{Compression: &Compression{}}, func(t *testing.T, p *peer) {
		d := newDeflater(defaultWindowBits)
		first, second := jsonText(rand.New(rand.NewSource(1)), 700), jsonText(rand.New(rand.NewSource(2)), 700)
		flushed := append(d.flush(d.write(nil, first)), syncTail...)
		d.remember(first)
		p.send(p.frame(Header{Rsv: RSV1, Opcode: OpText}, flushed))
		_, r, err := p.c.NextReader(context.Background())
		got := make([]byte, len(first))
		if err == nil {
			_, err = io.ReadFull(r, got)
		}
		if err != nil || !bytes.Equal(got, first) {
			t.Fatalf("the first fragment: %.40q, %v, want %.40q", got, err, first)
		}
		p.send(p.frame(Header{Fin: true}, deflateMessage(d, true, second)))
		p.send(p.compressed(OpText, deflateMessage(d, true, first)))
		p.wantRead(OpText, string(first)) // after the rest of the other was skipped

		p.send(p.compressed(OpText, deflateMessage(d, true, []byte("not read: \xff"))))
		if _, _, err := p.c.NextReader(context.Background()); err != nil {
			t.Fatal(err)
		}
		done := p.reading(0)
		p.wantClose(StatusInvalidPayload)
		p.cut()
		if v := <-done; verdict(v.err) != "broken 1007" {
			t.Errorf("skipping text that is none: %v, want 1007", v.err)
		}
	})
}

// A message that fits where it is to go is not moved, and no more room is made
// for one that does not than it needs by and large.
func TestInflate_room(t *testing.T) {
	eachPeer(t, []transport{overPipe}, Options{Compression: &Compression{}}, func(t *testing.T, p *peer) {
		for _, size := range []int{0, 1, 63, 64, 65, 1024, 16384, 200_000} {
			content := jsonText(rand.New(rand.NewSource(1)), max(size, 1))[:size]
			z := deflated(t, content)
			p.send(p.compressed(OpBinary, z))
			dst := make([]byte, 3, 3+size)
			_, got, err := p.c.AppendMessage(context.Background(), dst)
			if err != nil || !bytes.Equal(got[3:], content) || &got[0] != &dst[0] {
				t.Errorf("%d bytes: %d, %v, in dst's array = %t, want true", size, len(got)-3, err, &got[0] == &dst[0])
			}
			p.send(p.compressed(OpBinary, bytes.Clone(deflated(t, content))))
			_, got, err = p.c.ReadMessage(context.Background())
			if err != nil || !bytes.Equal(got, content) || cap(got) > 4*size+2*firstGrowth {
				t.Errorf("%d bytes: %d in an array of %d, %v", size, len(got), cap(got), err)
			}
		}
	})
}

// A8: connections that share inflaters, deflaters and buffers never see bytes
// of each other.
func TestFaults_A8_sharedInflaters(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			o := &Options{Compression: &Compression{NoWriteTakeover: i%2 == 0, NoReadTakeover: i%3 == 0, Threshold: 1}}
			s, c := Pipe(o, o)
			go echo(s)
			rnd := rand.New(rand.NewSource(int64(i)))
			for n := range 60 {
				// Each connection has an alphabet of its own.
				m := make([]byte, rnd.Intn(3*bufferSize))
				for j := range m {
					m[j] = byte(16*i + rnd.Intn(1+n%16))
				}
				roundTrip(t, c, 2*n, [][]byte{m})
			}
			c.Close(StatusNormalClosure, "")
			s.CloseNow()
		})
	}
	wg.Wait()
}

// FuzzInflate: whatever stands for the compressed bytes of three messages, cut
// into frames anywhere and read in any way, comes to what compress/flate makes
// of each of them as a whole.
func FuzzInflate(f *testing.F) {
	for _, row := range compressedRows {
		wire := unhex(f, row.wire)
		f.Add(wire[min(2, len(wire)):], uint16(7), uint16(9), []byte{3, 9}, []byte{1, 0x13}, row.takeover, true)
	}
	f.Add(append(deflated(f, make([]byte, 5000)), 0), uint16(2), uint16(3), []byte{1}, []byte{2}, true, false)
	f.Fuzz(func(t *testing.T, data []byte, first, second uint16, splits, calls []byte, takeover, text bool) {
		i := int(first) % (len(data) + 1)
		j := i + int(second)%(len(data)-i+1)
		messages := [][]byte{data[:i], data[i:j], data[j:]}
		op := OpBinary
		if text {
			op = OpText
		}
		var wire []byte
		for _, m := range messages {
			wire = append(wire, (&peer{}).compressed(op, cutBy(splits, m)...)...)
		}
		wire = append(wire, (&peer{}).closing(StatusNormalClosure, "")...)
		want := modelInflate(messages, op, takeover)
		for _, calls := range [][]byte{nil, calls} {
			got := receiveAll(t, fuzzConn{in: wire, splits: splits}.agreeing(takeover), false, calls)
			if !got.agrees(history{events: want, err: got.err, reason: got.reason}) {
				t.Fatalf("% x, takeover=%t, splits % x, calls % x:\n got %q\nwant %q", messages, takeover, splits, calls, got.events, want)
			}
		}
	})
}

// cutBy cuts b into pieces of the sizes, in turn.
func cutBy(sizes, b []byte) (pieces [][]byte) {
	for i := 0; i < 2*len(sizes) && len(b) > 0; i++ {
		n := min(int(sizes[i%len(sizes)]), len(b))
		pieces = append(pieces, b[:n])
		b = b[n:]
	}
	return append(pieces, b)
}

// modelInflate says what comes of compressed messages and a close frame.
func modelInflate(messages [][]byte, op Opcode, takeover bool) (events []string) {
	var past []byte
	for _, m := range messages {
		if !takeover {
			past = nil
		}
		content, err := modelMessage(m, past, fuzzLimit+1)
		code := 0
		switch {
		case op == OpText && !viable(content[:min(len(content), fuzzLimit)]):
			code = 1007
		case len(content) > fuzzLimit:
			code = 1009
		case err != nil, op == OpText && !utf8.Valid(content):
			code = 1007
		}
		if code != 0 {
			return append(events, fmt.Sprintf("close %d", code), fmt.Sprintf("broken %d", code))
		}
		events = append(events, fmt.Sprintf("%v %q", op, content))
		past = append(past, content...)
		past = past[max(0, len(past)-1<<defaultWindowBits):]
	}
	return append(events, "close 1000", `closed 1000 ""`)
}

// modelMessage inflates a message, or as much of it as is asked for.
func modelMessage(m, past []byte, most int64) (content []byte, err error) {
	if len(m) == 0 {
		return nil, nil
	}
	in := bytes.NewReader(append(bytes.Clone(m), lastTail...))
	for {
		r := flate.NewReaderDict(in, slices.Concat(past, content))
		more, err := io.ReadAll(io.LimitReader(r, most-int64(len(content))))
		content = append(content, more...)
		// The tail need not have been read if BFINAL came before it.
		if err != nil || in.Len() == 0 || in.Len() == len(lastTail) || int64(len(content)) >= most {
			return content, err
		}
	}
}

// S14: whatever is under way when a connection with compression ends, and
// whoever ends it, every call comes to an end, and what was read before is what
// was sent. The bubble tells of a goroutine that is left.
func TestFaults_S14_endsWhileDeflating(t *testing.T) {
	for seed := range 60 {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewSource(int64(seed)))
			o := &Options{Compression: &compressions[rnd.Intn(len(compressions))], CloseTimeout: time.Second}
			var ends [2]*Conn
			ends[0], ends[1] = Pipe(o, o)
			message := func(i int) []byte { return anyMessage(rand.New(rand.NewSource(int64(i))), 1<<(i%18)) }
			var wg sync.WaitGroup
			for _, c := range ends {
				other := rand.New(rand.NewSource(rnd.Int63()))
				wg.Go(func() { // writes
					for i := 0; ; i++ {
						if sendings[i%2].send(c.Context(), c, cut(other, message(i), 4)) != nil {
							return
						}
						time.Sleep(time.Millisecond) // else the bubble's time stands still
					}
				})
				reads := rand.New(rand.NewSource(rnd.Int63()))
				wg.Go(func() { checkMessages(t, c, reads, message) })
			}
			wg.Go(func() { // ends it, some time or other
				time.Sleep(time.Duration(rnd.Intn(50)) * time.Millisecond)
				switch c := ends[rnd.Intn(2)]; rnd.Intn(3) {
				case 0:
					c.CloseNow()
				case 1:
					c.Close(StatusNormalClosure, "")
				case 2:
					c.nc.Close()
				}
			})
			wg.Wait()
			for _, c := range ends {
				c.CloseNow()
			}
		})
	}
}

// checkMessages reads messages by all methods, with contexts that end soon,
// until the connection has ended. The i-th must be message(i).
func checkMessages(t *testing.T, c *Conn, rnd *rand.Rand, message func(i int) []byte) {
	r := &resumed{c: c}
	for i := 0; ; {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rnd.Intn(3000))*time.Microsecond)
		if len(r.part) == 0 {
			r.method = rnd.Intn(3)
		}
		_, got, err := r.read(ctx)
		cancel()
		if err != nil {
			if c.ended() != nil {
				return
			}
			continue
		}
		if !bytes.Equal(got, message(i)) {
			t.Errorf("message %d came as %d bytes of %d, or others", i, len(got), len(message(i)))
			return
		}
		i++
	}
}
