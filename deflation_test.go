package websocket

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// An inflatingPeer reads messages, and inflates those that are compressed by
// compress/flate, with the window that was agreed on and not a byte more.
type inflatingPeer struct {
	*peer
	past   []byte
	frames []Header // of the last message
}

// message returns the next message. Whatever may not be on the wire is an
// error: RSV1 but on the first frame, an answer that does not inflate.
func (p *inflatingPeer) message() (content []byte, err error) {
	p.frames = nil
	var payload []byte
	for fin := false; !fin; {
		h, piece, err := p.read()
		if err != nil {
			return nil, err
		}
		if h.Opcode.IsControl() {
			continue
		}
		if first := len(p.frames) == 0; first != h.Opcode.IsData() || !first && h.Rsv != 0 {
			return nil, fmt.Errorf("%v after %v", h, p.frames)
		}
		p.frames = append(p.frames, h)
		payload, fin = append(payload, piece...), h.Fin
	}
	if p.frames[0].Rsv == 0 {
		return payload, nil
	}
	return p.inflate(payload)
}

func (p *inflatingPeer) inflate(payload []byte) ([]byte, error) {
	agreed := p.c.compression
	if agreed.NoWriteTakeover {
		p.past = nil
	}
	r := flate.NewReaderDict(io.MultiReader(bytes.NewReader(payload), strings.NewReader(lastTail)), p.past)
	content, err := io.ReadAll(r)
	p.past = append(p.past, content...)
	p.past = bytes.Clone(p.past[max(0, len(p.past)-1<<agreed.WriteWindowBits):])
	return content, err
}

// eachCompression runs f for both roles over a Pipe, and settings with windows
// of all sizes, with takeover and without.
func eachCompression(t *testing.T, f func(t *testing.T, p *inflatingPeer)) {
	t.Helper()
	for bits := minWindowBits; bits <= maxWindowBits; bits++ {
		for _, alone := range []bool{false, true} {
			o := Compression{WriteWindowBits: bits, NoWriteTakeover: alone, Threshold: 20}
			t.Run(o.String(), func(t *testing.T) {
				eachPeer(t, bubbles, Options{Compression: &o}, func(t *testing.T, p *peer) {
					f(t, &inflatingPeer{peer: p})
				})
			})
		}
	}
}

// Long sequences of messages, sent in all ways, compressed or not, or not at
// all since their context had ended, inflate to what they were.
func TestDeflation(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	eachCompression(t, func(t *testing.T, p *inflatingPeer) {
		rnd := rand.New(rand.NewSource(1))
		plain, compressed := 0, 0
		for i := range 150 {
			m := anyMessage(rnd, 1<<rnd.Intn(14))
			if i == 75 {
				m = anyMessage(rnd, 1<<17)
			}
			way := sendings[rnd.Intn(len(sendings))]
			if err := way.send(ended, p.c, [][]byte{m}); !errors.Is(err, context.Canceled) {
				t.Fatalf("%s with a context that has ended: %v", way.name, err)
			}
			sent := make(chan error, 1)
			go func() { sent <- way.send(context.Background(), p.c, cut(rand.New(rand.NewSource(int64(i))), m, 4)) }()
			got, err := p.message()
			if err = errors.Join(err, <-sent); err != nil || !bytes.Equal(got, m) {
				t.Fatalf("message %d by %s: %d bytes of %d, equal = %t, %v", i, way.name, len(got), len(m), bytes.Equal(got, m), err)
			}
			if p.frames[0].Rsv == 0 {
				plain++
			} else {
				compressed++
			}
			if n := p.c.BufferedAmount(); n != 0 {
				t.Fatalf("BufferedAmount = %d after message %d by %s, want 0", n, i, way.name)
			}
		}
		if plain < 10 || compressed < 10 {
			t.Errorf("%d messages were plain and %d compressed, want some of both", plain, compressed)
		}
	})
}

// What is sent compressed is what is worth it.
func TestDeflation_threshold(t *testing.T) {
	text := strings.Repeat("worth it ", 100)
	random := make([]byte, 1000)
	rand.New(rand.NewSource(1)).Read(random)
	for _, tt := range []struct {
		o       Compression
		message string
		want    bool
	}{
		{Compression{}, text[:31], false},
		{Compression{}, text[:32], true},
		{Compression{NoWriteTakeover: true}, text[:255], false},
		{Compression{NoWriteTakeover: true}, text[:256], true},
		{Compression{Threshold: 100}, text[:99], false},
		{Compression{Threshold: 100}, text[:100], true},
		{Compression{Threshold: 1}, "aaaaaaaa", true},
		{Compression{Threshold: 1}, "", false},
		{Compression{Threshold: -1}, "", false},
		{Compression{Threshold: -1}, "a", false}, // it would not shrink
		{Compression{}, string(random), false},
	} {
		for _, way := range sendings {
			if len(tt.message) > 100 && way.name == "NextWriter" {
				continue // what is flushed in the middle is compressed in any case
			}
			eachPeer(t, bubbles, Options{Compression: &tt.o}, func(t *testing.T, p *peer) {
				if err := way.send(context.Background(), p.c, [][]byte{[]byte(tt.message)}); err != nil && way.name != "NextWriter" {
					t.Fatal(err)
				}
				in := &inflatingPeer{peer: p}
				got, err := in.message()
				if err != nil || string(got) != tt.message {
					t.Fatalf("%.20q came as %.20q, %v", tt.message, got, err)
				}
				if compressed := in.frames[0].Rsv != 0; compressed != tt.want && way.name != "NextWriter" {
					t.Errorf("%d bytes %.20q by %s with %v: compressed = %t, want %t", len(tt.message), tt.message, way.name, tt.o, compressed, tt.want)
				}
			})
		}
	}
}

// With takeover, a message that was sent before takes a few bytes. Without, it
// takes as many as before.
func TestDeflation_takeover(t *testing.T) {
	m := jsonText(rand.New(rand.NewSource(1)), 200)
	for _, alone := range []bool{false, true} {
		eachPeer(t, bubbles, Options{Compression: &Compression{NoWriteTakeover: alone, Threshold: 1}}, func(t *testing.T, p *peer) {
			in := &inflatingPeer{peer: p}
			var sizes [2]int64
			for i := range sizes {
				if err := p.c.WriteMessage(context.Background(), OpText, m); err != nil {
					t.Fatal(err)
				}
				if got, err := in.message(); err != nil || !bytes.Equal(got, m) {
					t.Fatalf("%.20q, %v", got, err)
				}
				sizes[i] = in.frames[0].Length
			}
			if again := sizes[1] < 20; again == alone || alone && sizes[0] != sizes[1] {
				t.Errorf("the same message twice, takeover=%t: %d bytes", !alone, sizes)
			}
		})
	}
}

// Flush sends all that the peer needs to see what was written before the
// message has ended; and control frames pass in its middle.
func TestDeflation_flush(t *testing.T) {
	eachCompression(t, func(t *testing.T, p *inflatingPeer) {
		ctx := context.Background()
		w := p.open(ctx, OpText)
		var payload []byte
		content := ""
		for i := range 5 {
			piece := fmt.Sprintf("piece %d of a message; ", i)
			if _, err := io.WriteString(w, piece); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			h, b, err := p.read()
			if err != nil || h.Fin || (h.Rsv == RSV1) != (i == 0) {
				t.Fatalf("fragment %d: %v, %v", i, h, err)
			}
			payload, content = append(payload, b...), content+piece
			r := flate.NewReader(bytes.NewReader(payload))
			got := make([]byte, len(content))
			if _, err := io.ReadFull(r, got); err != nil || string(got) != content {
				t.Fatalf("%q of %q, %v", got, content, err)
			}
			p.send(p.whole(OpPing, "ping"))
			short, cancel := context.WithTimeout(ctx, time.Second)
			p.c.ReadMessage(short)
			cancel()
			p.want(OpPong, "ping")
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		h, b, err := p.read()
		got, inflateErr := p.inflate(append(payload, b...))
		if err = errors.Join(err, inflateErr); err != nil || !h.Fin || h.Rsv != 0 || string(got) != content {
			t.Errorf("last fragment %v, all of it %q, %v", h, got, err)
		}
	})
}

// What becomes of a message that is given up: nothing, if nothing of it was
// sent, and the stream is right for the next one; else the connection goes.
func TestDeflation_abort(t *testing.T) {
	eachCompression(t, func(t *testing.T, p *inflatingPeer) {
		text := strings.Repeat("first and ", 10)
		next := func(s string) {
			t.Helper()
			if err := p.c.WriteText(context.Background(), s); err != nil {
				t.Fatal(err)
			}
			if got, err := p.message(); err != nil || string(got) != s {
				t.Fatalf("%.40q, %v, want %.40q", got, err, s)
			}
		}
		next(text)
		w := p.open(context.Background(), OpText)
		io.WriteString(w, "given up")
		if err := w.Abort(); err != nil {
			t.Fatal(err)
		}
		next(text + "second")

		// The peer reads nothing, so that the fragment cannot leave.
		p.fill(0)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		w = p.open(ctx, OpText)
		io.WriteString(w, strings.Repeat("cut and ", 100))
		if err := w.Flush(); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Flush into a full pipe: %v", err)
		}
		if err := p.c.WriteText(ctx, text); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("WriteText into a full pipe: %v", err)
		}
		w.Abort()
		w = p.open(context.Background(), OpText)
		w.ctx = ctx // has ended
		if _, err := io.WriteString(w, strings.Repeat("cut and ", 10_000)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Write of some fragments: %v", err)
		}
		w.Abort()
		io.CopyN(io.Discard, p.nc, pipeCapacity)
		next(text + "third")
		next(text + "third")

		w = p.open(context.Background(), OpText)
		io.WriteString(w, "half")
		w.Flush()
		go w.Abort()
		if h, _, err := p.read(); err != nil || h.Fin {
			t.Fatalf("%v, %v, want a fragment", h, err)
		}
		p.wantClose(StatusInternalError)
		p.cut()
		<-p.c.Context().Done()
		if n := p.c.BufferedAmount(); n != 0 {
			t.Errorf("BufferedAmount = %d, want 0", n)
		}
	})
}

// A prepared message is compressed once for each window, and fits into every
// stream.
func TestDeflation_prepared(t *testing.T) {
	content := jsonText(rand.New(rand.NewSource(1)), 3000)
	m, err := Prepare(OpText, content)
	if err != nil {
		t.Fatal(err)
	}
	var once [maxWindowBits + 1]*byte
	for round := range 2 {
		eachCompression(t, func(t *testing.T, p *inflatingPeer) {
			for i := range 3 {
				if err := p.c.WriteMessage(context.Background(), OpText, content[100*i:]); err != nil {
					t.Fatal(err)
				}
				if got, err := p.message(); err != nil || !bytes.Equal(got, content[100*i:]) {
					t.Fatalf("%.20q, %v", got, err)
				}
				if err := p.c.WritePrepared(context.Background(), m); err != nil {
					t.Fatal(err)
				}
				if got, err := p.message(); err != nil || !bytes.Equal(got, content) || p.frames[0].Rsv != RSV1 {
					t.Fatalf("%.20q in %v, %v", got, p.frames, err)
				}
			}
			bits := p.c.compression.WriteWindowBits
			at := &m.deflate(bits).payload[0]
			if once[bits] == nil {
				once[bits] = at
			}
			if at != once[bits] {
				t.Errorf("round %d: compressed again for %d bits", round, bits)
			}
		})
	}
	// One that does not shrink, and one that is small.
	random := make([]byte, 500)
	rand.New(rand.NewSource(2)).Read(random)
	eachPeer(t, bubbles, Options{Compression: &Compression{}}, func(t *testing.T, p *peer) {
		for _, content := range [][]byte{random, []byte("aaaaaaaaaaaaaaaaaaaaa")} {
			m, err := Prepare(OpBinary, content)
			if err == nil {
				err = p.c.WritePrepared(context.Background(), m)
			}
			if err != nil {
				t.Fatal(err)
			}
			p.want(OpBinary, string(content))
		}
		if p.c.out.z.kept != nil {
			t.Errorf("a deflater is held though nothing was compressed but once for all")
		}
	})
}

// Goroutines that write at the same time do not mix their windows.
func TestDeflation_concurrent(t *testing.T) {
	eachPeer(t, bubbles, Options{Compression: &Compression{Threshold: 1}}, func(t *testing.T, p *peer) {
		const writers, each = 8, 40
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				rnd := rand.New(rand.NewSource(int64(i)))
				for n := range each {
					m := append([]byte{byte(i)}, bytes.Repeat([]byte{byte(n)}, rnd.Intn(3000))...)
					if err := sendings[rnd.Intn(len(sendings))].send(context.Background(), p.c, cut(rnd, m, 3)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		in := &inflatingPeer{peer: p}
		var next [writers]byte
		for range writers * each {
			m, err := in.message()
			if err != nil || len(m) == 0 {
				t.Fatalf("%.20q, %v", m, err)
			}
			if rest := m[1:]; len(rest) != bytes.Count(rest, []byte{next[m[0]]}) {
				t.Fatalf("message %d of writer %d is mixed with others", next[m[0]], m[0])
			}
			next[m[0]]++
		}
		wg.Wait()
	})
}

// What a connection holds between messages, in both directions together.
func TestCompression_held(t *testing.T) {
	held := func(c *Conn) (n int) {
		if d := c.out.z.kept; d != nil {
			n += cap(d.past.b) + 2*cap(d.table)
		}
		return n + cap(c.in.z.past.b)
	}
	for _, tt := range []struct {
		o    Compression
		most int // bytes
	}{
		{Compression{}, 18 << 10},
		{Compression{WriteWindowBits: 8, ReadWindowBits: 8}, 2 << 10},
		{Compression{WriteWindowBits: 15, ReadWindowBits: 15}, (2*32 + 8 + 36) << 10},
		{Compression{NoWriteTakeover: true, NoReadTakeover: true}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, c := Pipe(&Options{Compression: &tt.o}, &Options{Compression: &tt.o})
			defer s.CloseNow()
			defer c.CloseNow()
			go echo(s)
			rnd := rand.New(rand.NewSource(1))
			for i := range 50 {
				roundTrip(t, c, i, [][]byte{jsonText(rnd, 5000)})
			}
			synctest.Wait()
			for _, end := range []*Conn{s, c} {
				if n := held(end); n > tt.most || tt.most > 0 && n < tt.most/4 {
					t.Errorf("%v: %d bytes are held, want %d at most", tt.o, n, tt.most)
				}
				if z := end.in.z; z.fl != nil || z.aside != nil || z.src.buf != nil {
					t.Errorf("%v: an inflater or a buffer is held between messages", tt.o)
				}
			}
		})
	}
}
