package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"

	"example.com/websocket"
)

// A raw is a client that takes frames apart and nothing else.
type raw struct {
	net.Conn
	br *bufio.Reader
}

// dial opens a WebSocket, with the offer of an extension if there is one, which
// must be accepted then.
func dial(addr, path, offer string) (*raw, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &raw{nc, bufio.NewReaderSize(nc, 256<<10)}
	fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", path, addr)
	if offer != "" {
		fmt.Fprintf(nc, "Sec-WebSocket-Extensions: %s\r\n", offer)
	}
	fmt.Fprint(nc, "\r\n")
	resp, err := http.ReadResponse(c.br, nil)
	switch {
	case err != nil:
	case resp.StatusCode != http.StatusSwitchingProtocols:
		err = errors.New(resp.Status)
	case (resp.Header.Get("Sec-WebSocket-Extensions") != "") != (offer != ""):
		err = fmt.Errorf("%q is answered with %q", offer, resp.Header.Get("Sec-WebSocket-Extensions"))
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// message reads a message, and returns how many bytes of payload it has.
func (c *raw) message() (n int64, err error) {
	for {
		h, err := websocket.ReadHeader(c.br)
		if err != nil {
			return 0, err
		}
		if h.Opcode.IsControl() {
			return 0, fmt.Errorf("%v", h)
		}
		if _, err := io.CopyN(io.Discard, c.br, h.Length); err != nil {
			return 0, err
		}
		if n += h.Length; h.Fin {
			return n, nil
		}
	}
}

// compressedFrame returns a message compressed, in a masked frame. It is
// compressed by itself, so it may be sent with takeover and without.
func compressedFrame(m []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 6)
	if err != nil {
		panic(err)
	}
	w.Write(m)
	w.Flush()
	p := bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
	h := websocket.Header{Fin: true, Rsv: websocket.RSV1, Opcode: websocket.OpText, Masked: true, Mask: [4]byte{1, 2, 3, 4}, Length: int64(len(p))}
	websocket.Mask(h.Mask, 0, p)
	return append(websocket.AppendHeader(nil, h), p...)
}

// exchange has a server send count messages of the size over each of conns
// connections at once, by itself or in answer, and returns how many bytes of
// payload there were for each byte of message.
func exchange(addr, work string, size, count, conns int) (ratio float64, err error) {
	path := "/" + work + "?" + url.Values{"size": {fmt.Sprint(size)}, "count": {fmt.Sprint(count)}}.Encode()
	type result struct {
		wire int64
		err  error
	}
	results := make(chan result)
	for range conns {
		go func() {
			n, err := exchangeOne(addr, path, work, size, count)
			results <- result{n, err}
		}()
	}
	wire, content := int64(0), 0
	for range conns {
		r := <-results
		wire, err = wire+r.wire, errors.Join(err, r.err)
	}
	list := messages(size)
	for i := range count {
		content += len(list[i%len(list)])
	}
	return float64(wire) / float64(content*conns), err
}

func exchangeOne(addr, path, work string, size, count int) (wire int64, err error) {
	c, err := dial(addr, path, "permessage-deflate; client_no_context_takeover")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	sent := make(chan error, 1)
	go func() { sent <- c.echoed(work, size, count) }()
	for range count {
		n, err := c.message()
		if err != nil {
			return 0, err
		}
		wire += n
	}
	return wire, <-sent
}

// echoed sends what is to be sent back, some messages at a time.
func (c *raw) echoed(work string, size, count int) error {
	if work != "echo" {
		return nil
	}
	frames := make([][]byte, 0, 256)
	for _, m := range messages(size) {
		if frames = append(frames, compressedFrame(m)); len(frames) == cap(frames) {
			break
		}
	}
	var b []byte
	for i := range count {
		b = append(b, frames[i%len(frames)]...)
		if len(b) > 32<<10 || i == count-1 {
			if _, err := c.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	return nil
}

// memory prints how many bytes of heap a connection holds because of
// compression, when it has sent and received compressed messages of 1 KiB and
// is idle.
func (b *bench) memory() error {
	fmt.Fprintf(b.out, "\nBytes of heap held for each idle connection because of compression, both directions together\n\n"+
		"| library | with takeover | without |\n|---|---|---|\n")
	for _, name := range append([]string{"ours, 2^15 windows"}, libraries...) {
		fmt.Fprintf(b.out, "| %s |", name)
		for _, takeover := range []bool{true, false} {
			if takeover && name == "gorilla" {
				fmt.Fprint(b.out, " – |")
				continue
			}
			n, err := heldBy(name, takeover, b.conns)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			fmt.Fprintf(b.out, " %d |", n)
		}
		fmt.Fprintln(b.out)
	}
	for _, name := range slices.Sorted(maps.Keys(encoders)) {
		fmt.Fprintf(b.out, "| %s, the writer alone | %d | |\n", name, heldByEncoder(encoders[name]))
	}
	return nil
}

// heldBy compares connections with compression and others.
func heldBy(library string, takeover bool, conns int64) (int64, error) {
	var held [2]int64
	for i, offer := range []string{"", "permessage-deflate; client_max_window_bits"} {
		c, err := startChild(library, takeover)
		if err != nil {
			return 0, err
		}
		defer c.stop()
		before, err := c.ask("heap")
		if err != nil {
			return 0, err
		}
		for range conns {
			r, err := dial(c.addr, "/echo", offer)
			if err != nil {
				return 0, err
			}
			defer r.Close()
			if err := r.converse(offer != ""); err != nil {
				return 0, err
			}
		}
		after, err := c.ask("heap")
		if err != nil {
			return 0, err
		}
		held[i] = (after - before) / conns
	}
	return held[1] - held[0], nil
}

// converse sends messages and waits for their echoes.
func (c *raw) converse(compressed bool) error {
	for _, m := range messages(1 << 10)[:20] {
		frame := compressedFrame(m)
		if !compressed {
			h := websocket.Header{Fin: true, Opcode: websocket.OpText, Masked: true, Length: int64(len(m))}
			frame = append(websocket.AppendHeader(nil, h), m...)
		}
		if _, err := c.Write(frame); err != nil {
			return err
		}
		if _, err := c.message(); err != nil {
			return err
		}
	}
	return nil
}

func heldByEncoder(make func(io.Writer) deflater) int64 {
	const n = 50
	before := heapBytes()
	var all [n]deflater
	for i := range all {
		all[i] = make(io.Discard)
		for _, m := range messages(1 << 10)[:20] {
			all[i].Write(m)
			all[i].Flush()
		}
	}
	held := (heapBytes() - before) / n
	all[0].Flush() // so that they live until here
	return held
}
