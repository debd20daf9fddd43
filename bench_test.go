//go:build !race

// The race detector makes a sync.Pool drop what it is given, at random, so
// that nothing can be said of allocations under it, or of speed.

package websocket

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// sizeName writes a number of bytes as in "size=4KiB".
func sizeName(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("size=%dMiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("size=%dKiB", n>>10)
	}
	return fmt.Sprintf("size=%dB", n)
}

var headerSizes = []int64{125, 126, 65536}

func BenchmarkAppendHeader(b *testing.B) {
	for _, length := range headerSizes {
		for _, masked := range []bool{false, true} {
			b.Run(fmt.Sprintf("length=%d/masked=%t", length, masked), func(b *testing.B) {
				h := Header{Fin: true, Opcode: OpBinary, Masked: masked, Length: length}
				want := headerSize(AppendHeader(nil, h)[1])
				buf := make([]byte, 0, MaxHeaderSize)
				b.ReportAllocs()
				for b.Loop() {
					if got := len(AppendHeader(buf, h)); got != want {
						b.Fatalf("AppendHeader(%v): %d bytes, want %d", h, got, want)
					}
				}
			})
		}
	}
}

func BenchmarkParseHeader(b *testing.B) {
	for _, length := range headerSizes {
		for _, masked := range []bool{false, true} {
			b.Run(fmt.Sprintf("length=%d/masked=%t", length, masked), func(b *testing.B) {
				want := Header{Fin: true, Opcode: OpBinary, Masked: masked, Length: length}
				wire := AppendHeader(nil, want)
				b.ReportAllocs()
				for b.Loop() {
					if h, _, err := ParseHeader(wire); h != want || err != nil {
						b.Fatalf("ParseHeader(% x) = %v, %v, want %v", wire, h, err, want)
					}
				}
			})
		}
	}
}

func BenchmarkMask(b *testing.B) {
	key := helloKey
	for _, size := range []int{16, 125, 1 << 10, 4 << 10, 64 << 10, 1 << 20} {
		b.Run(sizeName(size), func(b *testing.B) {
			p := maskInput(size)
			want, next := maskSlowly(key, 0, p)
			if Mask(key, 0, p); !bytes.Equal(p, want) {
				b.Fatalf("Mask of %d bytes is wrong", size)
			}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if got := Mask(key, 0, p); got != next {
					b.Fatalf("Mask = %d, want %d", got, next)
				}
			}
		})
	}
}

func BenchmarkUTF8(b *testing.B) {
	for _, script := range []struct{ name, text string }{
		{"ASCII", "The quick brown fox jumps over the lazy dog. "},
		{"Chinese", "敏捷的棕色狐狸跳过了懒狗。"},
		{"emoji", "😀🦊🐶🌍🚀"},
	} {
		for _, size := range []int{125, 4 << 10, 64 << 10} {
			b.Run("script="+script.name+"/"+sizeName(size), func(b *testing.B) {
				p := []byte(strings.Repeat(script.text, size/len(script.text)+1))
				for p = p[:size]; !utf8.Valid(p); p = p[:len(p)-1] {
				}
				b.ReportAllocs()
				b.SetBytes(int64(len(p)))
				for b.Loop() {
					var v validator
					if !v.write(p) || !v.done() {
						b.Fatal("valid text is refused")
					}
				}
			})
		}
	}
}

// A method is a way to read messages, and to write one back.
type method struct {
	name  string
	each  func(c *Conn, f func(Opcode, []byte) error) error // calls f for each message, until an error
	write func(c *Conn, p []byte, prepared *Prepared) error
}

func write(c *Conn, p []byte, _ *Prepared) error {
	return c.WriteMessage(context.Background(), OpBinary, p)
}

func eachAppended(c *Conn, f func(Opcode, []byte) error) error {
	var buf []byte
	for {
		op, p, err := c.AppendMessage(context.Background(), buf[:0])
		if err == nil {
			err = f(op, p)
		}
		if err != nil {
			return err
		}
		buf = p
	}
}

var methods = []method{
	{"AppendMessage", eachAppended, write},
	{"ReadMessage", func(c *Conn, f func(Opcode, []byte) error) error {
		for {
			op, p, err := c.ReadMessage(context.Background())
			if err == nil {
				err = f(op, p)
			}
			if err != nil {
				return err
			}
		}
	}, write},
	{"Messages", func(c *Conn, f func(Opcode, []byte) error) error {
		for m, err := range c.Messages(context.Background()) {
			if err == nil {
				err = f(m.Opcode, m.Data)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}, write},
	{"WritePrepared", eachAppended, func(c *Conn, _ []byte, m *Prepared) error {
		return c.WritePrepared(context.Background(), m)
	}},
}

// BenchmarkEcho sends a message over loopback and waits for its echo. Only the
// end that role names runs this package: the other one is a raw socket that
// moves the same bytes. With role=raw both do, which is what the machine
// needs for it.
func BenchmarkEcho(b *testing.B) {
	defer func(was *buffer) { pattern = was }(pattern)
	pattern = nil // it costs more than a small message
	for _, size := range []int{16, 125, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20} {
		payload := maskInput(size)
		masked := frame(Header{Fin: true, Opcode: OpBinary, Masked: true, Mask: helloKey}, payload)
		plain := frame(Header{Fin: true, Opcode: OpBinary}, payload)
		m, err := Prepare(OpBinary, payload)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(sizeName(size)+"/role=raw", func(b *testing.B) {
			server, client := tcpConns(b)
			done := inBackground(b, func() { rawReplies(server.NetConn(), len(masked), plain) })
			benchmarkExchange(b, client.NetConn(), masked, plain, size)
			client.CloseNow()
			<-done
		})
		for _, method := range methods {
			b.Run(sizeName(size)+"/role=server/"+method.name, func(b *testing.B) {
				server, client := tcpConns(b)
				done := inBackground(b, func() {
					method.each(server, func(op Opcode, p []byte) error { return method.write(server, p, m) })
				})
				benchmarkExchange(b, client.NetConn(), masked, plain, size)
				client.CloseNow()
				<-done
			})
			b.Run(sizeName(size)+"/role=client/"+method.name, func(b *testing.B) {
				server, client := tcpConns(b)
				done := inBackground(b, func() { rawReplies(server.NetConn(), len(masked), plain) })
				b.ReportAllocs()
				b.SetBytes(int64(size))
				send := func() {
					if err := method.write(client, payload, m); err != nil {
						b.Fatalf("write: %v", err)
					}
				}
				send()
				err := method.each(client, func(op Opcode, p []byte) error {
					if op != OpBinary || !bytes.Equal(p, payload) {
						b.Fatalf("echo of %d bytes = %v, %d bytes, or others", size, op, len(p))
					}
					if !b.Loop() {
						return io.EOF
					}
					send()
					return nil
				})
				if err != io.EOF {
					b.Fatalf("read: %v", err)
				}
				client.CloseNow()
				<-done
			})
		}
	}
}

// inBackground runs f and returns a channel that is closed when it is done.
func inBackground(tb testing.TB, f func()) <-chan struct{} {
	tb.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return done
}

// rawReplies sends reply for each n bytes that come.
func rawReplies(nc net.Conn, n int, reply []byte) {
	buf := make([]byte, n)
	for {
		if _, err := io.ReadFull(nc, buf); err != nil {
			return
		}
		if _, err := nc.Write(reply); err != nil {
			return
		}
	}
}

// benchmarkExchange sends request and wants reply, again and again.
func benchmarkExchange(b *testing.B, nc net.Conn, request, reply []byte, size int) {
	b.ReportAllocs()
	b.SetBytes(int64(size))
	buf := make([]byte, len(reply))
	for b.Loop() {
		if _, err := nc.Write(request); err != nil {
			b.Fatalf("Write: %v", err)
		}
		if _, err := io.ReadFull(nc, buf); err != nil {
			b.Fatalf("Read: %v", err)
		}
		if !bytes.Equal(buf, reply) {
			b.Fatalf("echo of %d bytes differs from what was sent", size)
		}
	}
}

// TestAllocations counts what a message costs the memory, exactly. The other
// end runs in the same process and counts, too: it reads and writes in a way
// that must not allocate either.
func TestAllocations(t *testing.T) {
	for _, size := range []int{0, 16, 125, 1 << 10, 4 << 10, 16 << 10, 64 << 10} {
		for _, role := range roles {
			t.Run(sizeName(size)+"/role="+role.name, func(t *testing.T) {
				c, peer := tcpConns(t)
				if !role.server {
					c, peer = peer, c
				}
				done := inBackground(t, func() {
					eachAppended(peer, func(_ Opcode, p []byte) error { return write(peer, p, nil) })
				})
				defer func() {
					c.CloseNow()
					<-done
				}()
				testAllocations(t, c, bytes.Repeat([]byte("x"), size))
			})
		}
	}
}

// TestAllocations_compression does the same for different messages, compressed.
// compress/flate allocates for codes of more than nine bits: ours have none.
func TestAllocations_compression(t *testing.T) {
	ctx := context.Background()
	for _, alone := range []bool{false, true} {
		for _, size := range []int{114, 1 << 10, 16 << 10} {
			for _, role := range roles {
				o := &Options{Compression: &Compression{NoWriteTakeover: alone, NoReadTakeover: alone, Threshold: 1}}
				c, peer := tcpConns(t)
				c, peer = compressing(c, o), compressing(peer, o)
				if !role.server {
					c, peer = peer, c
				}
				done := inBackground(t, func() {
					eachAppended(peer, func(_ Opcode, p []byte) error { return write(peer, p, nil) })
				})
				messages, i := jsonMessages(size), 0
				var buf []byte
				round := func() {
					m := messages[i%len(messages)]
					i++
					err := c.WriteMessage(ctx, OpText, m)
					if err == nil {
						_, buf, err = c.AppendMessage(ctx, buf[:0])
					}
					if err != nil || !bytes.Equal(buf, m) {
						t.Fatalf("%d bytes of %d, %v", len(buf), len(m), err)
					}
				}
				for range 40 { // fills the pools
					round()
				}
				if n := testing.AllocsPerRun(200, round); n != 0 {
					t.Errorf("%s, takeover=%t, role=%s: %v allocations, want 0", sizeName(size), !alone, role.name, n)
				}
				c.CloseNow()
				<-done
			}
		}
	}
}

// compressing returns a connection over that of c, as if o had been agreed on.
func compressing(c *Conn, o *Options) *Conn {
	agreed := o.Compression.withDefaults()
	return newConn(context.Background(), c.nc, c.client, o, agreement{compression: &agreed}, nil)
}

// testAllocations counts the allocations of each way to write payload, and to
// read its echo.
func testAllocations(t *testing.T, c *Conn, payload []byte) {
	ctx, text := context.Background(), string(payload)
	prepared, err := Prepare(OpText, payload)
	if err != nil {
		t.Fatal(err)
	}
	// What ReadMessage allocates for a larger message depends on how it
	// arrives: memory follows what has come.
	small := len(payload) <= firstGrowth
	one := min(1, len(payload))

	var buf []byte
	check := func(method string, p []byte, err error) {
		if err != nil || string(p) != text {
			t.Fatalf("%s: %d bytes, %v, want %d bytes", method, len(p), err, len(text))
		}
	}
	writeMessage := func() { check("WriteMessage", payload, c.WriteMessage(ctx, OpText, payload)) }
	appendMessage := func() {
		var err error
		_, buf, err = c.AppendMessage(ctx, buf[:0])
		check("AppendMessage", buf, err)
	}
	for _, row := range []struct {
		name        string
		want        int
		counts      bool
		write, read func()
	}{
		{"WriteMessage and AppendMessage", 0, true, writeMessage, appendMessage},
		{"with Conn.Context", 0, true, func() {
			check("WriteMessage", payload, c.WriteMessage(c.Context(), OpText, payload))
		}, func() {
			var err error
			_, buf, err = c.AppendMessage(c.Context(), buf[:0])
			check("AppendMessage", buf, err)
		}},
		{"WriteText", 0, true, func() { check("WriteText", payload, c.WriteText(ctx, text)) }, appendMessage},
		{"WritePrepared", 0, true, func() { check("WritePrepared", payload, c.WritePrepared(ctx, prepared)) }, appendMessage},
		{"NextWriter", 1, true, func() {
			w, err := c.NextWriter(ctx, OpText)
			check("NextWriter", payload, err)
			_, err = w.Write(payload)
			check("Write", payload, err)
			check("Close", payload, w.Close())
		}, appendMessage},
		{"ReadMessage", one, small, writeMessage, func() {
			_, p, err := c.ReadMessage(ctx)
			check("ReadMessage", p, err)
		}},
		{"NextReader", 1, true, writeMessage, func() {
			_, r, err := c.NextReader(ctx)
			check("NextReader", payload, err)
			buf = buf[:0]
			for err != io.EOF {
				var n int
				n, err = r.Read(buf[len(buf):cap(buf)])
				buf = buf[:len(buf)+n]
				if err != nil && err != io.EOF || n == 0 && err == nil {
					t.Fatalf("Read = %d, %v", n, err)
				}
			}
			check("NextReader", buf, nil)
		}},
	} {
		round := func() {
			row.write()
			row.read()
		}
		for range 20 { // fills the pools
			round()
		}
		buf = append(buf, 0) // room for a Read that finds the end
		const runs = 200
		if n := testing.AllocsPerRun(runs, round); row.counts && n != float64(row.want) {
			t.Errorf("%s: %v allocations, want %d", row.name, n, row.want)
		}
	}

	// Messages, whose loop body writes the next one.
	const messages = 1000
	n := testing.AllocsPerRun(1, func() {
		writeMessage()
		left := messages
		for m, err := range c.Messages(ctx) {
			check("Messages", m.Data, err)
			if left--; left == 0 {
				break
			}
			writeMessage()
		}
	})
	if small && n >= messages {
		t.Errorf("Messages: %v allocations for %d messages, want none for most", n, messages)
	}
}

// A countingConn counts calls of Write and takes what they write.
type countingConn struct {
	net.Conn
	writes int
}

func (nc *countingConn) Write(p []byte) (int, error) {
	nc.writes++
	return len(p), nil
}

func (nc *countingConn) Close() error                     { return nil }
func (nc *countingConn) SetWriteDeadline(time.Time) error { return nil }

// TestWrites counts how often a frame goes to the network: once, as long as it
// fits into a buffer. (On a socket a server sends larger ones by writev.)
func TestWrites(t *testing.T) {
	for _, row := range []struct {
		size, server, client int // bytes of the message, calls of Write
	}{
		{0, 1, 1},
		{125, 1, 1},
		{126, 1, 1},
		{16<<10 - 8, 1, 1},
		{16<<10 - 7, 1, 2},
		{16<<10 - 4, 1, 2},
		{16<<10 - 3, 2, 2},
		{64 << 10, 5, 5},
	} {
		for _, role := range roles {
			t.Run(fmt.Sprintf("%d/role=%s", row.size, role.name), func(t *testing.T) {
				nc := new(countingConn)
				c := newConn(context.Background(), nc, !role.server, new(Options), agreement{}, nil)
				defer c.CloseNow()
				if err := c.WriteMessage(context.Background(), OpBinary, make([]byte, row.size)); err != nil {
					t.Fatalf("WriteMessage: %v", err)
				}
				want := row.server
				if !role.server {
					want = row.client
				}
				if nc.writes != want {
					t.Errorf("WriteMessage of %d bytes: %d calls of Write, want %d", row.size, nc.writes, want)
				}
			})
		}
	}
}
