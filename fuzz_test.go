package websocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzParseHeader: what is accepted is what AppendHeader writes; what is
// refused gives nothing away; 14 bytes are always enough; ReadHeader agrees.
func FuzzParseHeader(f *testing.F) {
	for _, row := range headerRows {
		f.Add(unhex(f, row.wire))
	}
	for _, row := range badLengths {
		f.Add(append([]byte{0x82}, unhex(f, row.wire)...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, n, err := ParseHeader(data)
		r := bytes.NewReader(data)
		fromReader, readErr := ReadHeader(r)

		var pe *ProtocolError
		switch {
		case err != nil:
			if h != (Header{}) || n != 0 || !errors.As(err, &pe) || pe.Code != StatusProtocolError || pe.Rule != "5.2" {
				t.Fatalf("ParseHeader(% x) = %+v, %d, %v, want the zero Header, 0 and section 5.2", data, h, n, err)
			}
			if readErr == nil || readErr.Error() != err.Error() || fromReader != (Header{}) {
				t.Fatalf("ReadHeader(% x) = %+v, %v, want the zero Header and %v", data, fromReader, readErr, err)
			}
		case n == 0:
			if h != (Header{}) || len(data) >= MaxHeaderSize {
				t.Fatalf("ParseHeader(% x) = %+v, 0, nil for %d bytes, want the zero Header and an answer from %d bytes on", data, h, len(data), MaxHeaderSize)
			}
			want := io.ErrUnexpectedEOF
			if len(data) == 0 {
				want = io.EOF
			}
			if readErr != want || fromReader != (Header{}) {
				t.Fatalf("ReadHeader(% x) = %+v, %v, want the zero Header and %v", data, fromReader, readErr, want)
			}
		default:
			if got := AppendHeader(nil, h); !bytes.Equal(got, data[:n]) {
				t.Fatalf("AppendHeader of ParseHeader(% x) = % x, want the same bytes", data[:n], got)
			}
			if h.Length < 0 || h.Rsv > 7 || h.Opcode > 0xF || !h.Masked && h.Mask != [4]byte{} {
				t.Fatalf("ParseHeader(% x) = %+v: a field out of its range", data, h)
			}
			if readErr != nil || fromReader != h || len(data)-r.Len() != n {
				t.Fatalf("ReadHeader(% x) = %+v, %v after %d bytes, want %+v after %d", data, fromReader, readErr, len(data)-r.Len(), h, n)
			}
		}
	})
}

// FuzzMask: equal to the byte-wise loop at every alignment, and its own
// inverse.
func FuzzMask(f *testing.F) {
	f.Add(uint32(0x37fa213d), 0, uint8(0), []byte("Hello"))
	f.Add(uint32(0), 3, uint8(1), []byte("mask of zeroes"))
	f.Add(uint32(0xdeadbeef), 1<<30, uint8(7), bytes.Repeat([]byte{0xA5}, 100))
	f.Add(uint32(1), -1, uint8(5), bytes.Repeat([]byte("0123456789"), 400))
	f.Fuzz(func(t *testing.T, k uint32, pos int, align uint8, data []byte) {
		var key [4]byte
		binary.BigEndian.PutUint32(key[:], k)
		buf := make([]byte, int(align&7)+len(data))[align&7:]
		copy(buf, data)

		want, wantPos := maskSlowly(key, pos, data)
		if got := Mask(key, pos, buf); got != wantPos || !bytes.Equal(buf, want) {
			t.Fatalf("Mask(%x, %d, % x) = %d, % x, want %d, % x", key, pos, data, got, buf, wantPos, want)
		}
		back := make([]byte, len(buf))
		if MaskCopy(back, buf, key, pos); !bytes.Equal(back, data) {
			t.Fatalf("masked twice with %x at %d: % x, want % x", key, pos, back, data)
		}
	})
}

// FuzzUTF8: in pieces of any sizes, text is refused in the piece with the
// first byte that nothing can make right, and judged like unicode/utf8 at its
// end.
func FuzzUTF8(f *testing.F) {
	for _, row := range utf8Rows {
		f.Add(unhex(f, row.wire), []byte{0})
		f.Add(unhex(f, row.wire), []byte{1, 2})
	}
	f.Fuzz(func(t *testing.T, data, splits []byte) {
		i := 0
		checkValidator(t, data, func() int {
			if len(splits) == 0 {
				return 1
			}
			n := int(splits[i%len(splits)])
			if i++; i <= len(splits) {
				return n // may be 0, but not for ever
			}
			return n + 1
		})
	})
}

// FuzzClosePayload: valid exactly if it is what AppendClosePayload makes of
// what it says.
func FuzzClosePayload(f *testing.F) {
	for _, row := range closeRows {
		f.Add(unhex(f, row.wire))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > maxControlPayload {
			p = p[:maxControlPayload]
		}
		code, reason, err := ParseClosePayload(p)
		if err != nil {
			var pe *ProtocolError
			if code != 0 || reason != "" || !errors.As(err, &pe) {
				t.Fatalf("ParseClosePayload(% x) = %d, %q, %v, want 0, \"\" and a *ProtocolError", p, code, reason, err)
			}
			// Say the same with the other function: it refuses, too, unless
			// there is no way to say it.
			if len(p) < 2 {
				return
			}
			code, reason = StatusCode(binary.BigEndian.Uint16(p)), string(p[2:])
		}
		again, appendErr := AppendClosePayload([]byte("x"), code, reason)
		same := appendErr == nil && string(again) == "x"+string(p)
		if same != (err == nil) {
			t.Fatalf("ParseClosePayload(% x): %v, but AppendClosePayload(%d, %q) = % x, %v", p, err, code, reason, again, appendErr)
		}
		if appendErr != nil && string(again) != "x" {
			t.Fatalf("AppendClosePayload(%d, %q) = % x, %v, want what was there unchanged", code, reason, again, appendErr)
		}
	})
}

// fuzzLimit is the read limit of the fuzzed connections: small enough to be
// passed, large enough for payloads that are read past the buffer.
const fuzzLimit = 2000

// FuzzReceive: whatever comes, in whatever pieces and with whatever timeouts
// between, a Conn delivers, answers and ends as the model does.
func FuzzReceive(f *testing.F) {
	addStreams(f, func(wire []byte, server bool) {
		f.Add(wire, []byte{3, 0x81, 7}, server)
	})
	f.Fuzz(func(t *testing.T, data, splits []byte, server bool) {
		want := model(data, server, fuzzLimit)
		whole := receiveAll(t, &fuzzConn{in: data}, server, nil)
		if !slices.Equal(whole.events, want) {
			t.Fatalf("% x, server=%t:\n got %q\nwant %q", data, server, whole.events, want)
		}
		for _, nc := range []*fuzzConn{
			{in: data, splits: []byte{1}},
			{in: data, splits: splits},
			{in: data, splits: splits, endWithData: true},
		} {
			if got := receiveAll(t, nc, server, nil); !reflect.DeepEqual(got, whole) {
				t.Fatalf("% x, server=%t, splits % x:\n got %q\nwant %q", data, server, nc.splits, got, whole)
			}
		}
	})
}

// FuzzNextReader: a program that mixes the read methods, with buffers of odd
// sizes and timeouts at every place, receives what ReadMessage alone does, but
// for the messages that it does not read to their end.
func FuzzNextReader(f *testing.F) {
	addStreams(f, func(wire []byte, server bool) {
		f.Add(wire, []byte{0x81, 5}, []byte{0x13, 0x80, 0x05, 0x40}, server)
		f.Add(wire, []byte{0x81, 3}, []byte{1, 0x0E, 0, 2}, server)
	})
	f.Fuzz(func(t *testing.T, data, splits, calls []byte, server bool) {
		want := receiveAll(t, &fuzzConn{in: data}, server, nil)
		got := receiveAll(t, &fuzzConn{in: data, splits: splits}, server, calls)
		if !got.agrees(want) {
			t.Fatalf("% x, server=%t, splits % x, calls % x:\n got %q\nwant %q", data, server, splits, calls, got, want)
		}
	})
}

// FuzzClose: wherever in a stream Close is called, after whichever read was
// cut short there, it finds the peer's close frame, says why there is none, and
// sends one frame and nothing after it.
func FuzzClose(f *testing.F) {
	addStreams(f, func(wire []byte, server bool) {
		f.Add(wire, uint16(len(wire)/2), uint8(0), []byte{4}, server)
		f.Add(wire, uint16(3), uint8(2), []byte{1}, server)
	})
	f.Fuzz(func(t *testing.T, data []byte, stop uint16, stream uint8, splits []byte, server bool) {
		stopAt := int(stop) % (len(data) + 1)
		var h history
		nc := &fuzzConn{in: data, splits: splits, stopAt: len(data) - stopAt, stops: true, t: t, server: server, history: &h}
		c := newConn(context.Background(), nc, !server, &Options{ReadLimit: fuzzLimit, WriteTimeout: -1}, agreement{}, nil)

		before := model(data[:stopAt], server, fuzzLimit)
		end := before[len(before)-1]
		if err := readUpTo(c, &h, stream); err != nil && !isTimeout(err) {
			if verdict(err) != end {
				t.Fatalf("% x up to byte %d, server=%t: %v, want %q", data, stopAt, server, err, end)
			}
			return
		}
		if want := before[:len(before)-1]; stream == 0 && (end != "lost" || !slices.Equal(h.events, want)) {
			t.Fatalf("% x up to byte %d, server=%t: %q and a timeout, want %q, %q", data, stopAt, server, h.events, want, end)
		}
		h.events = nil
		got, want := "answered", modelAnswer(data, server)
		if err := c.Close(StatusGoingAway, "bye"); err != nil {
			got = verdict(err)
		}
		if got != want || !slices.Equal(h.events, []string{"close 1001"}) || h.reason != "bye" || !nc.closed {
			t.Fatalf("% x, Close at byte %d, server=%t: %s, sent %q, %q, TCP closed %t; want %s, close 1001, bye, true",
				data, stopAt, server, got, h.events, h.reason, nc.closed, want)
		}
		var ce *CloseError
		if cause := context.Cause(c.Context()); !errors.Is(cause, net.ErrClosed) || errors.As(cause, &ce) != (want == "answered") {
			t.Fatalf("% x, Close at byte %d, server=%t: cause %v, want net.ErrClosed, and the answer if there is one", data, stopAt, server, cause)
		}
	})
}

// readUpTo reads messages until an error; with stream, only that many bytes of
// the first one.
func readUpTo(c *Conn, h *history, stream uint8) error {
	if stream > 0 {
		_, r, err := c.NextReader(context.Background())
		if err == nil {
			_, err = r.Read(make([]byte, stream))
		}
		if err == io.EOF { // the end of an empty message
			err = nil
		}
		return err
	}
	for {
		op, msg, err := c.ReadMessage(context.Background())
		if err != nil {
			return err
		}
		h.events = append(h.events, fmt.Sprintf("%v %q", op, msg))
	}
}

// addStreams hands the rows of the message tests to add, and some streams with
// payloads that pass the buffer, for both roles.
func addStreams(tb testing.TB, add func(wire []byte, server bool)) {
	tb.Helper()
	var wires [][]byte
	for _, row := range streamRows {
		wires = append(wires, unhex(tb, row.wire))
	}
	text := bytes.Repeat([]byte("é1"), 600)
	wires = append(wires,
		frame(Header{Fin: true, Opcode: OpText}, text),
		frame(Header{Fin: true, Opcode: OpBinary}, make([]byte, fuzzLimit)),
		frame(Header{Fin: true, Opcode: OpBinary}, make([]byte, fuzzLimit+1)),
		slices.Concat(frame(Header{Opcode: OpText}, text[:1001]), unhex(tb, "89 01 70"), frame(Header{Fin: true}, text[1001:]), unhex(tb, "88 02 03 e8")),
	)
	for _, wire := range wires {
		add(wire, false)
		add(asClient(wire), true)
	}
}

// A history is what can be observed of a connection from the outside.
type history struct {
	events []string // what was delivered and answered, as in model
	err    string   // the error that came at the end
	reason string   // of the close frame we sent
}

// skipped is the event of a message that was not read to its end.
const skipped = "skipped"

// agrees reports whether h is want, but for messages that were skipped. The
// pongs for the pings in them then come later than they.
func (h history) agrees(want history) bool {
	if !slices.Contains(h.events, skipped) {
		return reflect.DeepEqual(h, want)
	}
	isMessage := func(event string) bool {
		return event == skipped || strings.HasPrefix(event, "text ") || strings.HasPrefix(event, "binary ")
	}
	only := func(events []string, message bool) []string {
		return slices.DeleteFunc(slices.Clone(events), func(event string) bool { return isMessage(event) != message })
	}
	got, all := only(h.events, true), only(want.events, true)
	if len(got) == len(all)+1 && got[len(all)] == skipped { // one that never came to its end
		got = got[:len(all)]
	}
	same := slices.EqualFunc(got, all, func(a, b string) bool { return a == b || a == skipped })
	h.events, want.events = only(h.events, false), only(want.events, false)
	return same && reflect.DeepEqual(h, want)
}

// errSkipped is what a program returns for a message that it gives up.
var errSkipped = errors.New("message skipped")

// receiveAll reads from nc until the end, by ReadMessage if calls is empty,
// else by the methods that calls chooses.
func receiveAll(t *testing.T, nc *fuzzConn, server bool, calls []byte) history {
	t.Helper()
	var h history
	nc.t, nc.server, nc.history = t, server, &h
	c := newConn(context.Background(), nc, !server, &Options{ReadLimit: fuzzLimit, WriteTimeout: -1}, agreement{compression: nc.compression}, nil)
	p := &program{c: c, calls: calls}
	var err error
	for err == nil {
		var op Opcode
		var msg []byte
		op, msg, err = p.next()
		switch err {
		case nil:
			h.events = append(h.events, fmt.Sprintf("%v %q", op, msg))
		case errSkipped:
			h.events, err = append(h.events, skipped), nil
		}
	}
	h.events, h.err = append(h.events, verdict(err)), err.Error()

	if _, _, again := c.ReadMessage(c.Context()); again != err {
		t.Fatalf("the read after the last one: %v, want %v again", again, err)
	}
	if got := context.Cause(c.Context()); got != err || !nc.closed || c.State() != StateClosed {
		t.Fatalf("after %v: cause %v, TCP closed %t, %v; want the same error, true, closed", err, got, nc.closed, c.State())
	}
	return h
}

// A program reads messages by calls that it chooses, and goes on when one of
// them times out.
type program struct {
	c     *Conn
	calls []byte
	i     int
}

// call returns the next choice.
func (p *program) call() byte {
	if len(p.calls) == 0 {
		return 0
	}
	b := p.calls[p.i%len(p.calls)]
	p.i++
	return b
}

// next returns a message: by ReadMessage or AppendMessage, or, if the choice
// is odd, by NextReader.
func (p *program) next() (Opcode, []byte, error) {
	for {
		choice := p.call()
		switch {
		case choice&1 != 0:
			op, r, err := p.c.NextReader(context.Background())
			if err == nil {
				return p.readAll(op, r)
			}
			if !isTimeout(err) {
				return 0, nil, err
			}
		case choice&2 != 0:
			op, msg, err := p.c.AppendMessage(context.Background(), make([]byte, 3, 3+int(choice)))
			if !isTimeout(err) {
				return op, msg[3:], err
			}
			if len(msg) != 3 {
				return 0, nil, fmt.Errorf("AppendMessage returned %d bytes with %w, want dst", len(msg), err)
			}
		default:
			op, msg, err := p.c.ReadMessage(context.Background())
			if !isTimeout(err) {
				return op, msg, err
			}
		}
	}
}

// readAll reads to the end of a message with buffers of the chosen sizes, or
// gives it up. When a Read times out it goes on with the same reader, or asks
// for another one.
func (p *program) readAll(op Opcode, r io.Reader) (Opcode, []byte, error) {
	msg := []byte{}
	for cut := false; ; { // a Read of r was cut short: the rest is not skipped then
		choice := p.call()
		buf := make([]byte, 1+int(choice)*int(choice)/8)
		n, err := r.Read(buf)
		msg = append(msg, buf[:n]...)
		cut = cut || isTimeout(err)
		for isTimeout(err) && choice&1 != 0 {
			var again Opcode
			cut = false
			if again, r, err = p.c.NextReader(context.Background()); err == nil && again != op {
				return 0, nil, fmt.Errorf("NextReader for the rest of a %v message says %v", op, again)
			}
		}
		switch {
		case err == io.EOF:
			return op, msg, nil
		case err != nil && !isTimeout(err):
			return op, nil, err
		case err == nil && !cut && choice&15 == 14:
			return op, nil, errSkipped
		}
	}
}

// A fuzzConn is a net.Conn without goroutines and without time: reads hand out
// in, in pieces, and then io.EOF; writes are taken apart and noted.
type fuzzConn struct {
	in          []byte
	splits      []byte // sizes of the pieces, in turn; none: all at once. With the top bit set a timeout comes first, until we close
	endWithData bool   // the last piece comes together with io.EOF
	first       int    // size of the first piece, if not 0
	stops       bool   // a timeout comes when stopAt bytes are left
	stopAt      int
	compression *Compression // that is agreed on

	t         *testing.T
	server    bool // whoever uses the connection is the server
	history   *history
	i         int
	timed     bool
	closeSent bool
	closed    bool
}

func (nc *fuzzConn) Read(p []byte) (int, error) {
	if nc.closed || len(p) == 0 {
		nc.t.Fatalf("Read of %d bytes, closed=%t", len(p), nc.closed)
	}
	if nc.stops && !nc.closeSent && len(nc.in) == nc.stopAt {
		return 0, os.ErrDeadlineExceeded
	}
	if len(nc.in) == 0 {
		return 0, io.EOF
	}
	n := len(nc.in)
	if nc.stops && !nc.closeSent {
		n -= nc.stopAt
	} else if len(nc.splits) > 0 {
		b := nc.splits[nc.i%len(nc.splits)]
		if nc.timed = b&0x80 != 0 && !nc.timed && !nc.closeSent; nc.timed {
			return 0, os.ErrDeadlineExceeded
		}
		nc.i++
		n = 1 + int(b&0x7F)*int(b&0x7F)/8
	}
	if nc.first > 0 {
		n, nc.first = nc.first, 0
	}
	n = copy(p, nc.in[:min(n, len(nc.in))])
	if nc.in = nc.in[n:]; len(nc.in) == 0 && nc.endWithData {
		return n, io.EOF
	}
	return n, nil
}

// Write wants one whole frame that may be sent by whoever uses nc.
func (nc *fuzzConn) Write(p []byte) (int, error) {
	h, n, err := ParseHeader(p)
	if err != nil || n == 0 || int64(len(p)-n) != h.Length || !h.Fin || h.Rsv != 0 || h.Masked == nc.server || nc.closeSent || nc.closed {
		nc.t.Fatalf("Write of % x: %v, %v, close sent=%t, closed=%t; want one frame that this side may send", p, h, err, nc.closeSent, nc.closed)
	}
	payload, _ := maskSlowly(h.Mask, 0, p[n:])
	switch h.Opcode {
	case OpPong:
		nc.history.events = append(nc.history.events, fmt.Sprintf("pong %q", payload))
	case OpClose:
		nc.closeSent = true
		code := 0
		if len(payload) > 0 {
			code = int(binary.BigEndian.Uint16(payload))
			nc.history.reason = string(payload[2:])
		}
		nc.history.events = append(nc.history.events, fmt.Sprintf("close %d", code))
	default:
		nc.t.Fatalf("Write of a %v frame, want pongs and a close", h.Opcode)
	}
	return len(p), nil
}

func (nc *fuzzConn) Close() error                     { nc.closed = true; return nil }
func (nc *fuzzConn) CloseWrite() error                { return nil }
func (nc *fuzzConn) LocalAddr() net.Addr              { return nil }
func (nc *fuzzConn) RemoteAddr() net.Addr             { return nil }
func (nc *fuzzConn) SetDeadline(time.Time) error      { return nil }
func (nc *fuzzConn) SetReadDeadline(time.Time) error  { return nil }
func (nc *fuzzConn) SetWriteDeadline(time.Time) error { return nil }

// verdict names the class of the error that ended a connection.
func verdict(err error) string {
	var ce *CloseError
	var pe *ProtocolError
	switch {
	case errors.As(err, &ce) && ce.Code == StatusAbnormalClosure && errors.Is(err, io.ErrUnexpectedEOF):
		return "lost"
	case errors.As(err, &ce):
		return fmt.Sprintf("closed %d %q", ce.Code, ce.Reason)
	case errors.As(err, &pe):
		return fmt.Sprintf("broken %d", pe.Code)
	case errors.Is(err, ErrMessageTooBig):
		return "broken 1009"
	}
	return err.Error()
}

// A modelFrame is a frame as the model sees it.
type modelFrame struct {
	cut     bool // its header is not complete
	bad     bool // its header breaks a rule
	fin     bool
	op      byte
	length  uint64
	payload []byte // as much as has come
	rest    []byte // what is behind it
}

// modelNext takes a frame apart by RFC 6455, section 5.2. inside says that a
// message is under way.
func modelNext(in []byte, server, inside bool) (f modelFrame) {
	if len(in) < 2 {
		return modelFrame{cut: true}
	}
	f.fin, f.op, f.length = in[0]>>7 == 1, in[0]&15, uint64(in[1]&127)
	rsv, masked := in[0]>>4&7, in[1]>>7 == 1
	extended := map[uint64]int{126: 2, 127: 8}[f.length]
	at := 2 + extended
	if masked {
		at += 4
	}
	if len(in) < at {
		return modelFrame{cut: true}
	}
	if extended > 0 {
		f.length = 0
		for _, b := range in[2 : 2+extended] {
			f.length = f.length<<8 | uint64(b)
		}
	}
	control := f.op >= 8
	switch {
	case extended == 2 && f.length < 126, extended == 8 && f.length < 65536, f.length >= 1<<63,
		masked != server, rsv != 0, f.op > 2 && f.op < 8, f.op > 10,
		control && (!f.fin || f.length > 125),
		!control && (f.op == 0) != inside:
		return modelFrame{bad: true}
	}
	for i := 0; uint64(i) < f.length && at+i < len(in); i++ {
		b := in[at+i]
		if masked {
			b ^= in[at-4+i%4]
		}
		f.payload = append(f.payload, b)
	}
	f.rest = in[at+len(f.payload):]
	return f
}

// model is the receiving side of RFC 6455, section 5, as slow and plain as it
// can be. It shares no code with the package.
func model(in []byte, server bool, limit uint64) (events []string) {
	say := func(format string, args ...any) { events = append(events, fmt.Sprintf(format, args...)) }
	fail := func(code int) []string {
		say("close %d", code)
		say("broken %d", code)
		return events
	}
	kind, message, frames := byte(0), []byte{}, 0 // of the message under way; kind 0: none is
	for {
		f := modelNext(in, server, kind != 0)
		control := f.op >= 8
		switch {
		case f.cut:
			say("lost")
			return events
		case f.bad:
			return fail(1002)
		case !control && frames == 131072:
			return fail(1008)
		case !control && f.length > limit-uint64(len(message)):
			return fail(1009)
		}
		if !control {
			frames, message = frames+1, append(message, f.payload...)
			if f.op != 0 {
				kind = f.op
			}
			if kind == 1 && !viable(message) {
				return fail(1007)
			}
		}
		if uint64(len(f.payload)) < f.length {
			say("lost")
			return events
		}
		in = f.rest
		switch {
		case f.op == 8:
			if code := modelClose(f.payload); code != 0 {
				return fail(code)
			}
			if f.length == 0 {
				f.payload = []byte{1005 >> 8, 1005 & 255}
				say("close 0")
			} else {
				say("close %d", binary.BigEndian.Uint16(f.payload))
			}
			say("closed %d %q", binary.BigEndian.Uint16(f.payload), f.payload[2:])
			return events
		case f.op == 9:
			say("pong %q", f.payload)
		case !control && f.fin && kind == 1 && !utf8.Valid(message):
			return fail(1007)
		case !control && f.fin:
			say("%s %q", []string{1: "text", 2: "binary"}[kind], message)
			kind, message, frames = 0, []byte{}, 0
		}
	}
}

// modelClose returns the code that the sender of a close payload is told if it
// is wrong, else 0.
func modelClose(p []byte) int {
	switch {
	case len(p) == 1, len(p) > 1 && !modelCode(p):
		return 1002
	case len(p) > 1 && !utf8.Valid(p[2:]):
		return 1007
	}
	return 0
}

// modelAnswer says how our closing handshake ends when in is all that the peer
// sends: "answered" if a close frame is in it, before any fault of a header.
// What messages hold does not matter then.
func modelAnswer(in []byte, server bool) string {
	for inside := false; ; {
		f := modelNext(in, server, inside)
		switch {
		case f.bad:
			return "broken 1002"
		case f.cut || uint64(len(f.payload)) < f.length:
			return "lost"
		case f.op == 8:
			if code := modelClose(f.payload); code != 0 {
				return fmt.Sprintf("broken %d", code)
			}
			return "answered"
		case f.op < 8:
			inside = !f.fin
		}
		in = f.rest
	}
}

// modelCode reports whether the registry has a close frame start like p.
func modelCode(p []byte) bool {
	code := int(p[0])<<8 | int(p[1])
	return slices.Contains([]int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}, code) ||
		3000 <= code && code < 5000
}
