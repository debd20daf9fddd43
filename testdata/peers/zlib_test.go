package peers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand"
	"net"
	"net/http"
	"testing"

	"example.com/websocket"
)

// A zlibJob is what a program inflates by zlib, with windows of exactly that
// many bits: compressed messages, as they were on the wire.
type zlibJob struct {
	Bits     int      `json:"bits"`
	Takeover bool     `json:"takeover"`
	Messages [][]byte `json:"messages"` // base64 in JSON
}

// zlibMessages returns messages of all kinds, with repeats at distances around
// the size of the window among them.
func zlibMessages(rnd *rand.Rand, bits int) (list [][]byte) {
	stream := make([]byte, 4<<bits)
	rnd.Read(stream)
	for i := range 120 {
		switch i % 4 {
		case 0:
			list = append(list, []byte(object(i)))
		case 1:
			list = append(list, []byte(noise(i, rnd.Intn(2000))))
		case 2: // what was seen about a window ago
			from := rnd.Intn(len(stream) / 2)
			list = append(list, bytes.Clone(stream[from:from+rnd.Intn(len(stream)/2)]))
		case 3:
			n := 1<<bits - 50 + rnd.Intn(100)
			list = append(list, bytes.Repeat(stream[:n], 1+rnd.Intn(3)))
		}
	}
	return append(list, bytes.Repeat([]byte(object(1)), 300), bytes.Repeat(binaryPattern, 300))
}

// sendInTurn sends messages in the three ways there are, in turn.
func sendInTurn(ctx context.Context, c *websocket.Conn, messages [][]byte) error {
	for i, m := range messages {
		var err error
		switch i % 3 {
		case 0:
			err = c.WriteMessage(ctx, websocket.OpBinary, m)
		case 1:
			err = ourConn{c, ctx}.SendFragments("binary", cut(m, 3), func() error { return nil })
		case 2:
			var p *websocket.Prepared
			if p, err = websocket.Prepare(websocket.OpBinary, m); err == nil {
				err = c.WritePrepared(ctx, p)
			}
		}
		if err != nil {
			return err
		}
	}
	return c.Close(websocket.StatusNormalClosure, "")
}

// capture returns what of the messages came compressed over nc, as it was on
// the wire, and the checksums of the messages.
func capture(nc net.Conn, br *bufio.Reader, messages [][]byte) (z [][]byte, sums []uint32, err error) {
	var payload []byte
	compressed := false
	for n := 0; ; {
		h, err := websocket.ReadHeader(br)
		if err != nil {
			return nil, nil, err
		}
		p := make([]byte, h.Length)
		if _, err := io.ReadFull(br, p); err != nil {
			return nil, nil, err
		}
		if h.Masked {
			websocket.Mask(h.Mask, 0, p)
		}
		if h.Opcode == websocket.OpClose {
			h.Masked = !h.Masked // the answer
			_, err := nc.Write(append(websocket.AppendHeader(nil, h), masked(h, p)...))
			return z, sums, errors.Join(err, want(n, len(messages)))
		}
		if h.Opcode.IsData() {
			payload, compressed = nil, h.Rsv == websocket.RSV1
		}
		payload = append(payload, p...)
		if !h.Fin {
			continue
		}
		if compressed {
			z, sums = append(z, payload), append(sums, crc32.ChecksumIEEE(messages[n]))
		} else if !bytes.Equal(payload, messages[n]) {
			return nil, nil, fmt.Errorf("message %d came plain as %d other bytes", n, len(payload))
		}
		n++
	}
}

func want(got, all int) error {
	if got != all {
		return fmt.Errorf("%d messages of %d came", got, all)
	}
	return nil
}

func masked(h websocket.Header, p []byte) []byte {
	if h.Masked {
		websocket.Mask(h.Mask, 0, p)
	}
	return p
}

// zlibServer has our server send the messages to a client that asks for a
// window.
func zlibServer(t *testing.T, bits int, takeover bool, messages [][]byte) ([][]byte, []uint32) {
	sent := make(chan error, 1)
	addr := newHTTPServer(t, func(w http.ResponseWriter, r *http.Request) {
		u := websocket.Upgrader{Options: websocket.Options{Compression: &websocket.Compression{WriteWindowBits: 15, Threshold: 1}}}
		c, err := u.Upgrade(w, r)
		if err == nil {
			defer c.CloseNow()
			go func() {
				for range c.Messages(c.Context()) {
				}
			}()
			err = sendInTurn(c.Context(), c, messages)
		}
		sent <- err
	})
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	offer := fmt.Sprintf("permessage-deflate; server_max_window_bits=%d", bits)
	if !takeover {
		offer += "; server_no_context_takeover"
	}
	fmt.Fprintf(nc, "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: %s\r\n\r\n", addr, offer)
	br := bufio.NewReader(nc)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", resp, err)
	}
	z, sums, err := capture(nc, br, messages)
	nc.(*net.TCPConn).CloseWrite()
	if err = errors.Join(err, <-sent); err != nil {
		t.Fatal(err)
	}
	return z, sums
}

// zlibClient has our client send the messages to a server that answers with a
// window.
func zlibClient(t *testing.T, bits int, takeover bool, messages [][]byte) ([][]byte, []uint32) {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer ln.Close()
	sent := make(chan error, 1)
	go func() {
		d := websocket.Dialer{Options: websocket.Options{Compression: &websocket.Compression{WriteWindowBits: 15, Threshold: 1}}}
		c, _, err := d.Dial(t.Context(), "ws://"+ln.Addr().String())
		if err == nil {
			defer c.CloseNow()
			err = sendInTurn(t.Context(), c, messages)
		}
		sent <- err
	}()
	nc := must(ln.Accept())(t)
	defer nc.Close()
	br := bufio.NewReader(nc)
	req := must(http.ReadRequest(br))(t)
	answer := fmt.Sprintf("permessage-deflate; server_no_context_takeover; client_max_window_bits=%d", bits)
	if !takeover {
		answer += "; client_no_context_takeover"
	}
	fmt.Fprintf(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"+
		"Sec-WebSocket-Extensions: %s\r\n\r\n", websocket.AcceptKey(req.Header.Get("Sec-WebSocket-Key")), answer)
	z, sums, err := capture(nc, br, messages)
	nc.(*net.TCPConn).CloseWrite()
	if err = errors.Join(err, <-sent); err != nil {
		t.Fatal(err)
	}
	return z, sums
}

// What our encoder emits is inflated by zlib with windows of exactly the size
// that was agreed on, that of Node.js and that of Python, in steps of output so
// small that a reference beyond the window is noticed.
func TestZlibWindows(t *testing.T) {
	install, name := node(t)
	programs := map[string]*process{
		"Node.js": start(t, install, name, "js/inflate.mjs"),
		"Python":  start(t, pythonWebsockets(t), python, "py/inflate.py"),
	}
	for bits := 8; bits <= 15; bits++ {
		for _, takeover := range []bool{true, false} {
			for role, of := range map[string]func(*testing.T, int, bool, [][]byte) ([][]byte, []uint32){"server": zlibServer, "client": zlibClient} {
				t.Run(fmt.Sprintf("bits=%d/takeover=%t/%s", bits, takeover, role), func(t *testing.T) {
					messages := zlibMessages(rand.New(rand.NewSource(int64(bits))), bits)
					z, sums := of(t, bits, takeover, messages)
					if len(z) < 40 {
						t.Fatalf("%d messages of %d were compressed, want more", len(z), len(messages))
					}
					for name, p := range programs {
						p.inflate(t, name, zlibJob{bits, takeover, z}, sums)
					}
				})
			}
		}
	}
}

// inflate has the program do the job, and compares what comes of it.
func (p *process) inflate(t *testing.T, name string, j zlibJob, want []uint32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got struct {
		Sums  []uint32
		Error string
	}
	err := p.within(ctx, func() error {
		if err := json.NewEncoder(p.stdin).Encode(j); err != nil {
			return err
		}
		line, err := p.stdout.ReadBytes('\n')
		if err != nil {
			return err
		}
		return json.Unmarshal(line, &got)
	})
	if err != nil || got.Error != "" {
		t.Fatalf("%s: %v %s", name, err, got.Error)
	}
	for i := range want {
		if len(got.Sums) != len(want) || got.Sums[i] != want[i] {
			t.Fatalf("%s: message %d of %d inflates to something else", name, i, len(want))
		}
	}
}

// The two programs do notice a reference beyond the window.
func TestZlibWindows_tooFar(t *testing.T) {
	install, name := node(t)
	random := make([]byte, 500)
	rand.New(rand.NewSource(1)).Read(random)
	message := fmt.Appendf(nil, "%x", random)
	z, _ := zlibServer(t, 10, true, [][]byte{message, message}) // a repeat from 1000 bytes back
	for _, p := range []*process{start(t, install, name, "js/inflate.mjs"), start(t, pythonWebsockets(t), python, "py/inflate.py")} {
		for bits, fails := range map[int]bool{10: false, 9: true} {
			if err := json.NewEncoder(p.stdin).Encode(zlibJob{bits, true, z}); err != nil {
				t.Fatal(err)
			}
			line, err := p.stdout.ReadBytes('\n')
			if err != nil || bytes.Contains(line, []byte("too far back")) != fails {
				t.Errorf("a repeat from 1000 bytes back, in a window of %d bits: %s, %v, want it refused = %t", bits, line, err, fails)
			}
		}
	}
}
