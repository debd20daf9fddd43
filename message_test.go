package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// A role is an end that receives.
type role struct {
	name   string
	server bool
}

var roles = [...]role{{"server", true}, {"client", false}}

// wire returns what the role's peer sends: frames, which are not masked, as
// they are from a server and masked from a client.
func (r role) wire(frames []byte) []byte {
	if r.server {
		return asClient(frames)
	}
	return frames
}

// asClient masks the frames in wire, which may be wrong in every other way,
// and may end anywhere.
func asClient(wire []byte) []byte {
	var masked []byte
	for len(wire) > 0 {
		size, length := 2, uint64(0)
		if len(wire) >= 2 {
			length = uint64(wire[1])
			switch wire[1] {
			case length16:
				size = 4
			case length64:
				size = 10
			}
		}
		if len(wire) < size {
			cut := append(masked, wire...)
			if len(wire) > 1 {
				cut[len(masked)+1] |= maskBit
			}
			return cut
		}
		switch size {
		case 4:
			length = uint64(binary.BigEndian.Uint16(wire[2:]))
		case 10:
			length = binary.BigEndian.Uint64(wire[2:])
		}
		head := append(bytes.Clone(wire[:size]), helloKey[:]...)
		head[1] |= maskBit
		wire = wire[size:]
		n := min(length, uint64(len(wire)))
		payload, _ := maskSlowly(helloKey, 0, wire[:n])
		masked = slices.Concat(masked, head, payload)
		wire = wire[n:]
	}
	return masked
}

// streamRows are whole streams as a server sends them, before the end of the
// stream, and what comes of them: first the events as in model, the last one
// being how the connection ends; rule is the section that was broken.
var streamRows = []struct {
	name, wire string
	want       []string
	rule       string
}{
	// 5.2: what a header may say.
	{"F3 RSV1 on text", "c1 01 61", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F3 RSV2 on text", "a1 01 61", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F3 RSV3 on text", "91 01 61", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F3 all RSV on text", "f1 01 61", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F3 RSV1 on binary", "c2 00", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F3 RSV1 on continuation", "01 01 61 c0 00", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F3 RSV2 on close", "a8 00", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F3 RSV3 on ping", "99 00", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F3 RSV1 and RSV3 on pong", "da 00", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F3 after a message", "81 01 61 c1 01 61", []string{`text "a"`, "close 1002", "broken 1002"}, "5.2"},
	{"F4 opcode 3", "83 00", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F4 opcode 4", "84 01 61", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F4 opcode 5", "85 00", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F4 opcode 6", "86 00", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F4 opcode 7", "87 00", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F4 opcode 0xB", "8b 00", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F4 opcode 0xC", "8c 00", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F4 opcode 0xD", "8d 00", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F4 opcode 0xE", "8e 00", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F4 opcode 0xF", "8f 00", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F4 opcode 3 inside a message", "01 01 61 83 00", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F4 opcode 0xB inside a message", "01 01 61 8b 00", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F7 125 in 16 bits", "82 7e 007d", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F7 5 in 64 bits", "82 7f 0000000000000005", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F8 2^63", "82 7f 8000000000000000", []string{"close 1002", "broken 1002"}, "5.2"},
	{"F8 2^64-1 in a continuation", "02 01 61 80 7f ffffffffffffffff", []string{"close 1002", "broken 1002"}, "5.2"},

	// 5.4: fragments.
	{"RFC fragmented text", "01 03 48 65 6c 80 02 6c 6f", []string{`text "Hello"`, "lost"}, ""},
	{"F11 continuation first", "80 01 61", []string{"close 1002", "broken 1002"}, "5.4"},
	{"F11 continuation first, not final", "00 01 61", []string{"close 1002", "broken 1002"}, "5.4"},
	{"F11 continuation after a message", "81 01 61 80 01 62", []string{`text "a"`, "close 1002", "broken 1002"}, "5.4"},
	{"F11 continuation after a fragmented message", "01 01 61 80 00 80 00", []string{`text "a"`, "close 1002", "broken 1002"}, "5.4"},
	{"F11 continuation after a ping", "89 00 80 00", []string{`pong ""`, "close 1002", "broken 1002"}, "5.4"},
	{"F12 text in text", "01 01 61 81 01 62", []string{"close 1002", "broken 1002"}, "5.4"},
	{"F12 text after unfinished binary", "02 01 61 01 01 62", []string{"close 1002", "broken 1002"}, "5.4"},
	{"F12 binary in text", "01 01 61 82 01 62", []string{"close 1002", "broken 1002"}, "5.4"},
	{"F12 binary after an empty fragment", "01 00 82 01 62", []string{"close 1002", "broken 1002"}, "5.4"},
	{"F14 empty text", "81 00", []string{`text ""`, "lost"}, ""},
	{"F14 empty binary", "82 00", []string{`binary ""`, "lost"}, ""},
	{"F14 only empty fragments", "02 00 00 00 00 00 80 00", []string{`binary ""`, "lost"}, ""},
	{"empty fragments around bytes", "01 00 00 01 61 00 00 80 00", []string{`text "a"`, "lost"}, ""},
	{"two messages", "81 01 61 82 02 00 ff", []string{`text "a"`, `binary "\x00\xff"`, "lost"}, ""},

	// 5.5: control frames.
	{"F5 ping without FIN", "09 00", []string{"close 1002", "broken 1002"}, "5.5"},
	{"F5 pong without FIN", "0a 01 61", []string{"close 1002", "broken 1002"}, "5.5"},
	{"F5 close without FIN", "08 02 03 e8", []string{"close 1002", "broken 1002"}, "5.5"},
	{"F5 ping without FIN inside a message", "01 01 61 09 00", []string{"close 1002", "broken 1002"}, "5.5"},
	{"F6 ping of 126 bytes, at the header", "89 7e 007e", []string{"close 1002", "broken 1002"}, "5.5"},
	{"F6 pong of 65536 bytes, at the header", "8a 7f 0000000000010000", []string{"close 1002", "broken 1002"}, "5.5"},
	{"F6 close of 2^63-1 bytes, at the header", "88 7f 7fffffffffffffff", []string{"close 1002", "broken 1002"}, "5.5"},
	{"F18 ping between fragments", "01 01 61 89 01 70 80 01 62", []string{`pong "p"`, `text "ab"`, "lost"}, ""},
	{"F18 ping between all fragments", "89 00 02 01 61 89 01 31 00 01 62 89 01 32 80 01 63 89 01 33", []string{`pong ""`, `pong "1"`, `pong "2"`, `binary "abc"`, `pong "3"`, "lost"}, ""},
	{"F19 unasked pong", "8a 00 8a 03 61 62 63 8a 08 00 00 00 00 00 00 00 01 81 00", []string{`text ""`, "lost"}, ""},
	{"F20 ping of 125 bytes", "89 7d" + strings.Repeat(" ff", 125) + "81 00", []string{fmt.Sprintf("pong %q", strings.Repeat("\xff", 125)), `text ""`, "lost"}, ""},
	{"F20 ping of 0 bytes", "89 00", []string{`pong ""`, "lost"}, ""},

	// 5.5.1: close frames.
	{"C1 empty", "88 00", []string{"close 0", `closed 1005 ""`}, ""},
	{"C2 one byte", "88 01 03", []string{"close 1002", "broken 1002"}, "5.5.1"},
	{"C3 1005", "88 02 03 ed", []string{"close 1002", "broken 1002"}, "7.4"},
	{"C4 1000 with a reason", "88 05 03 e8 62 79 65", []string{"close 1000", `closed 1000 "bye"`}, ""},
	{"C4 4999", "88 02 13 87", []string{"close 4999", `closed 4999 ""`}, ""},
	{"C5 reason not UTF-8", "88 03 03 e8 ff", []string{"close 1007", "broken 1007"}, "5.5.1"},
	{"C6 reason of 123 bytes", "88 7d 03 e8" + strings.Repeat(" 7a", 123), []string{"close 1000", fmt.Sprintf("closed 1000 %q", strings.Repeat("z", 123))}, ""},
	{"C8 inside a fragmented message", "01 01 61 88 02 03 e9", []string{"close 1001", `closed 1001 ""`}, ""},
	{"C9 data and a ping after it", "88 02 03 e8 81 01 61 89 00", []string{"close 1000", `closed 1000 ""`}, ""},
	{"C13 nothing", "", []string{"lost"}, ""},
	{"C13 cut in the first byte's frame", "81", []string{"lost"}, ""},
	{"C13 cut in an extended length", "82 7e 01", []string{"lost"}, ""},
	{"C13 cut in a payload", "81 05 48 65", []string{"lost"}, ""},
	{"C13 cut before a payload", "82 01", []string{"lost"}, ""},
	{"C13 cut in a message", "81 01 61 01 01 62", []string{`text "a"`, "lost"}, ""},
	{"C13 cut in a ping", "89 02 61", []string{"lost"}, ""},
	{"C13 cut in a close frame", "88 02 03", []string{"lost"}, ""},

	// 5.6 and 8.1: text.
	{"U1 FF", "81 01 ff", []string{"close 1007", "broken 1007"}, "8.1"},
	{"U1 surrogate", "81 03 ed a0 80", []string{"close 1007", "broken 1007"}, "8.1"},
	{"U1 in the second fragment", "01 01 61 80 01 ff", []string{"close 1007", "broken 1007"}, "8.1"},
	{"U2 a code point in four fragments", "01 01 f0 00 01 9f 00 01 98 80 01 80", []string{"text \"\U0001F600\"", "lost"}, ""},
	{"U2 empty fragments in a code point", "01 01 c3 00 00 80 01 a9", []string{`text "é"`, "lost"}, ""},
	{"U3 now, not at the end", "81 7e 03e8 61 62 ff", []string{"close 1007", "broken 1007"}, "8.1"},
	{"U3 by the second byte of a code point", "81 0a f4 90", []string{"close 1007", "broken 1007"}, "8.1"},
	{"U4 C2 and an empty final fragment", "01 01 c2 80 00", []string{"close 1007", "broken 1007"}, "8.1"},
	{"U4 cut at the end", "81 03 61 e2 82", []string{"close 1007", "broken 1007"}, "8.1"},
	{"U4 cut at the end of the last fragment", "01 01 61 80 01 c2", []string{"close 1007", "broken 1007"}, "8.1"},
	{"U4 C2 without an end", "01 01 c2", []string{"lost"}, ""},
	{"U5 FF in binary", "82 01 ff", []string{`binary "\xff"`, "lost"}, ""},
	{"U5 FF in a continuation of binary", "02 01 ff 80 01 c2", []string{`binary "\xff\xc2"`, "lost"}, ""},
	{"U6 ping between two halves", "01 01 c3 89 01 ff 80 01 a9", []string{`pong "\xff"`, `text "é"`, "lost"}, ""},
	{"U6 binary, then text", "82 01 c3 81 01 a9", []string{`binary "\xc3"`, "close 1007", "broken 1007"}, "8.1"},
	{"U7 NUL and U+FEFF", "81 04 00 ef bb bf", []string{"text \"\\x00\\ufeff\"", "lost"}, ""},

	// 10.4: limits. That of these tests is 2000 bytes.
	{"F9 2^32", "82 7f 0000000100000000", []string{"close 1009", "broken 1009"}, ""},
	{"F9 2^32+5", "82 7f 0000000100000005", []string{"close 1009", "broken 1009"}, ""},
	{"F9 2^40", "81 7f 0000010000000000", []string{"close 1009", "broken 1009"}, ""},
	{"F9 2^63-1", "82 7f 7fffffffffffffff", []string{"close 1009", "broken 1009"}, ""},
	{"F13 a sum past 2^63", "02 01 61 80 7f 7fffffffffffffff", []string{"close 1009", "broken 1009"}, ""},
	{"F16 at the limit, then a short one", "82 7e 07d0" + strings.Repeat(" 00", 2000) + "82 00", []string{fmt.Sprintf("binary %q", make([]byte, 2000)), `binary ""`, "lost"}, ""},
	{"F16 one over", "82 7e 07d1", []string{"close 1009", "broken 1009"}, ""},
	{"F16 at the limit in fragments, with a ping", "02 7e 03e8" + strings.Repeat(" 00", 1000) + "89 00 80 7e 03e8" + strings.Repeat(" 00", 1000), []string{`pong ""`, fmt.Sprintf("binary %q", make([]byte, 2000)), "lost"}, ""},
	{"F16 one over in fragments", "02 7e 03e8" + strings.Repeat(" 00", 1000) + "89 00 80 7e 03e9", []string{`pong ""`, "close 1009", "broken 1009"}, ""},
	{"F16 one over in many fragments", "02 7e 07cf" + strings.Repeat(" 00", 1999) + "00 01 00 00 00 00 01", []string{"close 1009", "broken 1009"}, ""},
}

// Every stream through a whole Conn, by all read methods and in pieces of all
// kinds, and through the model.
func TestStream(t *testing.T) {
	for _, row := range streamRows {
		for _, role := range roles {
			t.Run(row.name+"/"+role.name, func(t *testing.T) {
				wire := role.wire(unhex(t, row.wire))
				if got := model(wire, role.server, fuzzLimit); !slices.Equal(got, row.want) {
					t.Fatalf("model(% .40x) = %.200q, want %.200q", wire, got, row.want)
				}
				whole := receiveAll(t, &fuzzConn{in: wire}, role.server, nil)
				if !slices.Equal(whole.events, row.want) {
					t.Fatalf("% .40x:\n got %.200q\nwant %.200q", wire, whole.events, row.want)
				}
				if row.rule != "" && !strings.Contains(whole.err, "section "+row.rule+":") {
					t.Errorf("% .40x: %s, want section %s", wire, whole.err, row.rule)
				}
				for _, splits := range [][]byte{nil, {1}, {0x81}, {4}, {0x8A, 3}, {20, 0x81}} {
					for _, calls := range [][]byte{nil, {1, 2}, {1, 0}, {2}, {3, 7, 0, 1}, {1, 14, 0}} {
						nc := &fuzzConn{in: wire, splits: splits}
						if got := receiveAll(t, nc, role.server, calls); !got.agrees(whole) {
							t.Errorf("% .40x, splits % x, calls % x:\n got %.200q\nwant %.200q", wire, splits, calls, got, whole)
						}
					}
				}
			})
		}
	}
}

// Every stream cut in two at every place, and ended there.
func TestStream_everySplit(t *testing.T) {
	for _, row := range streamRows {
		for _, role := range roles {
			wire := role.wire(unhex(t, row.wire))
			if len(wire) > 200 {
				continue // of these, TestStream has enough
			}
			t.Run(row.name+"/"+role.name, func(t *testing.T) {
				for cut := range len(wire) + 1 {
					got := receiveAll(t, &fuzzConn{in: wire[:cut]}, role.server, nil).events
					if want := model(wire[:cut], role.server, fuzzLimit); !slices.Equal(got, want) {
						t.Errorf("% x:\n got %q\nwant %q", wire[:cut], got, want)
					}
					got = receiveAll(t, &fuzzConn{in: bytes.Clone(wire), first: cut}, role.server, nil).events
					if !slices.Equal(got, row.want) {
						t.Errorf("% x in pieces of %d and the rest:\n got %q\nwant %q", wire, cut, got, row.want)
					}
				}
			})
		}
	}
}

// A sequenceRow is a frame that may come or not, after others that may. The
// headers are of frames without a mask; the test sets it as the role demands.
type sequenceRow struct {
	name   string
	rsv    byte // the bits that an extension gave a meaning
	before []Header
	frame  Header
	rule   string // "": it may come
}

var sequenceRows = []sequenceRow{
	{"text", 0, nil, Header{Fin: true, Opcode: OpText}, ""},
	{"binary", 0, nil, Header{Fin: true, Opcode: OpBinary}, ""},
	{"first fragment", 0, nil, Header{Opcode: OpText}, ""},
	{"a length that no limit allows", 0, nil, Header{Fin: true, Opcode: OpText, Length: math.MaxInt64}, ""},
	{"F11 continuation first", 0, nil, Header{Fin: true}, "5.4"},
	{"F11 continuation first, not final", 0, nil, Header{}, "5.4"},
	{"F11 continuation after a message", 0, []Header{{Fin: true, Opcode: OpText}}, Header{Fin: true}, "5.4"},
	{"F11 continuation after the last one", 0, []Header{{Opcode: OpText}, {Fin: true}}, Header{Fin: true}, "5.4"},
	{"F11 continuation after a ping", 0, []Header{{Fin: true, Opcode: OpPing}}, Header{Fin: true}, "5.4"},
	{"continuation", 0, []Header{{Opcode: OpText}}, Header{}, ""},
	{"last continuation", 0, []Header{{Opcode: OpBinary}, {}, {}}, Header{Fin: true}, ""},
	{"continuation after a ping inside", 0, []Header{{Opcode: OpBinary}, {Fin: true, Opcode: OpPing}}, Header{Fin: true}, ""},
	{"text after a fragmented one", 0, []Header{{Opcode: OpText}, {Fin: true}}, Header{Fin: true, Opcode: OpText}, ""},
	{"F12 text in text", 0, []Header{{Opcode: OpText}}, Header{Fin: true, Opcode: OpText}, "5.4"},
	{"F12 text in binary", 0, []Header{{Opcode: OpBinary}, {}}, Header{Fin: true, Opcode: OpText}, "5.4"},
	{"F12 binary in text", 0, []Header{{Opcode: OpText}}, Header{Opcode: OpBinary}, "5.4"},
	{"F12 text in text after a ping", 0, []Header{{Opcode: OpText}, {Fin: true, Opcode: OpPing}}, Header{Fin: true, Opcode: OpText}, "5.4"},

	{"ping", 0, nil, Header{Fin: true, Opcode: OpPing}, ""},
	{"ping of 125 bytes", 0, nil, Header{Fin: true, Opcode: OpPing, Length: 125}, ""},
	{"ping inside a message", 0, []Header{{Opcode: OpText}}, Header{Fin: true, Opcode: OpPing}, ""},
	{"pong inside a message", 0, []Header{{Opcode: OpText}}, Header{Fin: true, Opcode: OpPong}, ""},
	{"C8 close inside a message", 0, []Header{{Opcode: OpText}}, Header{Fin: true, Opcode: OpClose, Length: 2}, ""},
	{"F5 ping without FIN", 0, nil, Header{Opcode: OpPing}, "5.5"},
	{"F5 pong without FIN", 0, nil, Header{Opcode: OpPong}, "5.5"},
	{"F5 close without FIN", 0, nil, Header{Opcode: OpClose}, "5.5"},
	{"F5 ping without FIN inside a message", 0, []Header{{Opcode: OpText}}, Header{Opcode: OpPing}, "5.5"},
	{"F6 ping of 126 bytes", 0, nil, Header{Fin: true, Opcode: OpPing, Length: 126}, "5.5"},
	{"F6 pong of 65536 bytes", 0, nil, Header{Fin: true, Opcode: OpPong, Length: 65536}, "5.5"},
	{"F6 close of 2^63-1 bytes", 0, nil, Header{Fin: true, Opcode: OpClose, Length: math.MaxInt64}, "5.5"},

	{"Z1 RSV1 on text, agreed", RSV1, nil, Header{Fin: true, Rsv: RSV1, Opcode: OpText}, ""},
	{"Z1 RSV1 on binary, agreed", RSV1, nil, Header{Rsv: RSV1, Opcode: OpBinary}, ""},
	{"Z1 no RSV1 though agreed", RSV1, nil, Header{Fin: true, Opcode: OpText}, ""},
	{"Z1 RSV1 on a continuation, agreed", RSV1, []Header{{Rsv: RSV1, Opcode: OpText}}, Header{Fin: true, Rsv: RSV1}, "5.2"},
	{"Z1 RSV1 on a ping, agreed", RSV1, nil, Header{Fin: true, Rsv: RSV1, Opcode: OpPing}, "5.2"},
	{"Z1 RSV1 on a close, agreed", RSV1, nil, Header{Fin: true, Rsv: RSV1, Opcode: OpClose}, "5.2"},
	{"F3 RSV2 where RSV1 was agreed", RSV1, nil, Header{Fin: true, Rsv: RSV2, Opcode: OpText}, "5.2"},
	{"F3 RSV1 and RSV3 where RSV1 was agreed", RSV1, nil, Header{Fin: true, Rsv: RSV1 | RSV3, Opcode: OpText}, "5.2"},
}

func TestSequence(t *testing.T) {
	rows := slices.Clone(sequenceRows)
	for op := range Opcode(16) {
		var before []Header
		if op == OpContinuation {
			before = []Header{{Opcode: OpText}}
		}
		for rsv := byte(1); rsv <= 7; rsv++ {
			name := fmt.Sprintf("F3 RSV bits %03b on opcode %#x", rsv, byte(op))
			rows = append(rows, sequenceRow{name, 0, before, Header{Fin: true, Rsv: rsv, Opcode: op}, "5.2"})
		}
		if op > 2 && op < 8 || op > 10 {
			name := fmt.Sprintf("F4 opcode %#x", byte(op))
			rows = append(rows,
				sequenceRow{name, 0, nil, Header{Fin: true, Opcode: op}, "5.2"},
				sequenceRow{name + " inside a message", 0, []Header{{Opcode: OpBinary}}, Header{Fin: true, Opcode: op}, "5.2"})
		}
	}
	for _, row := range rows {
		for _, role := range roles {
			t.Run(row.name+"/"+role.name, func(t *testing.T) {
				s := sequence{server: role.server, rsv: row.rsv}
				for _, h := range row.before {
					h.Masked = role.server
					if err := s.next(h); err != nil {
						t.Fatalf("bad table: next(%v): %v", h, err)
					}
				}
				h, before := row.frame, s
				h.Masked = role.server
				err := s.next(h)
				if row.rule == "" {
					if err != nil {
						t.Errorf("next(%v): %v, want no error", h, err)
					}
					return
				}
				violates(t, fmt.Sprintf("next(%v)", h), err, StatusProtocolError, row.rule)
				if s != before {
					t.Errorf("next(%v) refused, and left %+v, want %+v", h, s, before)
				}
			})
		}
	}
}

// TestSequence_mask is F1 and F2: each opcode, alone and inside a message, with
// the mask that its sender may not use.
func TestSequence_mask(t *testing.T) {
	ids := map[bool]string{true: "F1", false: "F2"}
	for _, role := range roles {
		for op := range Opcode(16) {
			for _, inside := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s opcode %#x inside=%t/%s", ids[role.server], byte(op), inside, role.name), func(t *testing.T) {
					s := sequence{server: role.server}
					if inside {
						if err := s.next(Header{Opcode: OpText, Masked: role.server}); err != nil {
							t.Fatal(err)
						}
					}
					h, before := Header{Fin: true, Opcode: op, Masked: !role.server}, s
					violates(t, fmt.Sprintf("next(%v)", h), s.next(h), StatusProtocolError, "5.1")
					if s != before {
						t.Errorf("next(%v) refused, and left %+v, want %+v", h, s, before)
					}
				})
			}
		}
	}
}

// The same on the wire: the close code goes out, and the frame's payload is
// not delivered.
func TestStream_mask(t *testing.T) {
	for _, role := range roles {
		for _, wire := range []string{"81 01 61", "82 01 61", "80 00", "88 02 03 e8", "89 01 61", "8a 00"} {
			frames := unhex(t, wire)
			if !role.server {
				frames = asClient(frames)
			}
			want := []string{"close 1002", "broken 1002"}
			for _, splits := range [][]byte{nil, {1}} {
				got := receiveAll(t, &fuzzConn{in: frames, splits: splits}, role.server, nil)
				if !slices.Equal(got.events, want) || !strings.Contains(got.err, "section 5.1:") {
					t.Errorf("%s gets % x: %q, want %q for section 5.1", role.name, frames, got, want)
				}
			}
		}
	}
}

// TestSequence_fragments is F15: the cap counts all frames of a message, and
// no others.
func TestSequence_fragments(t *testing.T) {
	for _, role := range roles {
		t.Run("F15/"+role.name, func(t *testing.T) {
			s := sequence{server: role.server}
			must := func(h Header) {
				t.Helper()
				h.Masked = role.server
				if err := s.next(h); err != nil {
					t.Fatalf("next(%v) after %d fragments: %v, want no error", h, s.fragments, err)
				}
			}
			const most = 131072
			for range 2 { // the count starts again with each message
				must(Header{Opcode: OpBinary})
				for range most - 2 {
					must(Header{})
				}
				must(Header{Fin: true, Opcode: OpPing}) // does not count
				must(Header{Fin: true})
			}
			must(Header{Opcode: OpText})
			for range most - 1 {
				must(Header{})
			}
			must(Header{Fin: true, Opcode: OpPing})
			for _, h := range []Header{{}, {Fin: true}, {Length: 1}} {
				h.Masked = role.server
				before := s
				violates(t, fmt.Sprintf("next(%v) after %d fragments", h, most), s.next(h), StatusPolicyViolation, "10.4")
				if s != before {
					t.Errorf("next(%v) refused, and left %+v, want %+v", h, s, before)
				}
			}
		})
	}
}

// The cap on the wire, with 1008 to the peer.
func TestStream_fragments(t *testing.T) {
	for _, role := range roles {
		t.Run("F15/"+role.name, func(t *testing.T) {
			first, more := role.wire([]byte{0x01, 0x00}), role.wire([]byte{0x00, 0x00})
			wire := append(first, bytes.Repeat(more, maxFragments-1)...)
			for _, row := range []struct {
				last []byte
				want []string
			}{
				{nil, []string{"lost"}},
				{[]byte{0x80, 0x00}, []string{"close 1008", "broken 1008"}},
				{[]byte{0x00, 0x00}, []string{"close 1008", "broken 1008"}},
			} {
				in := append(slices.Clip(wire), role.wire(row.last)...)
				if got := receiveAll(t, &fuzzConn{in: in}, role.server, nil).events; !slices.Equal(got, row.want) {
					t.Errorf("%d fragments and % x: %q, want %q", maxFragments, row.last, got, row.want)
				}
			}
		})
	}
}

// A feed is what comes of a stream in a receiver.
type feed struct {
	payload []byte // of all data frames
	ends    int    // of messages
	err     error
}

// receive feeds wire to r, with at most step bytes more each time.
func receive(t *testing.T, r *receiver, wire []byte, step int) (f feed) {
	t.Helper()
	for have := 0; ; {
		n, err := r.header(wire[:have])
		if err != nil && n != 0 && r.head.Length != 0 {
			t.Fatalf("header(% x) = %d, %v, want 0", wire[:have], n, err)
		}
		if err != nil {
			return feed{f.payload, f.ends, err}
		}
		if n == 0 {
			if have == len(wire) {
				return f
			}
			have = min(have+step, len(wire))
			continue
		}
		wire, have = wire[n:], have-n
		for r.left > 0 {
			if have == 0 {
				if len(wire) == 0 {
					return f
				}
				have = min(step, len(wire))
			}
			k := int(min(int64(have), r.left))
			dst := make([]byte, k)
			if err := r.payload(dst, wire[:k]); err != nil {
				return feed{f.payload, f.ends, err}
			}
			if !r.head.Opcode.IsControl() {
				f.payload = append(f.payload, dst...)
			}
			wire, have = wire[k:], have-k
		}
		if r.atEnd() && !r.head.Opcode.IsControl() {
			f.ends++
			r.begun = false
		}
	}
}

// The receiver alone, without a Conn: fed whole and byte by byte, it says the
// same of every stream, and breaks the same rule.
func TestReceiver(t *testing.T) {
	for _, row := range streamRows {
		for _, role := range roles {
			t.Run(row.name+"/"+role.name, func(t *testing.T) {
				wire := role.wire(unhex(t, row.wire))
				var feeds []feed
				for _, step := range []int{len(wire) + 1, 1, 3} {
					r := &receiver{sequence: sequence{server: role.server}, limit: fuzzLimit}
					feeds = append(feeds, receive(t, r, wire, step))
				}
				whole := feeds[0]
				for _, f := range feeds[1:] {
					// In pieces, more may be delivered before a fault comes.
					same := bytes.Equal(f.payload, whole.payload) || whole.err != nil && bytes.HasPrefix(f.payload, whole.payload)
					if !same || f.ends != whole.ends || fmt.Sprint(f.err) != fmt.Sprint(whole.err) {
						t.Errorf("% .40x in pieces: %.60q, %d messages, %v; want as whole: %.60q, %d, %v",
							wire, f.payload, f.ends, f.err, whole.payload, whole.ends, whole.err)
					}
				}
				if row.rule != "" && row.rule != "5.5.1" && row.rule != "7.4" { // those are not the receiver's
					code := StatusProtocolError
					if row.rule == "8.1" {
						code = StatusInvalidPayload
					}
					violates(t, fmt.Sprintf("% .40x", wire), whole.err, code, row.rule)
				}
			})
		}
	}
}

// A refused header changes nothing: neither the message under way nor the
// frame.
func TestReceiver_refusedHeader(t *testing.T) {
	for _, role := range roles {
		for _, wire := range []string{"81 01", "c0 00", "83 00", "09 00", "89 7e 007e", "80 7e 0005", "80 7f 8000000000000000"} {
			r := &receiver{sequence: sequence{server: role.server}, limit: fuzzLimit}
			receive(t, r, role.wire(unhex(t, "01 02 61 c3")), 100)
			before := *r
			head := role.wire(unhex(t, wire))
			if n, err := r.header(head); n != 0 || err == nil || *r != before {
				t.Errorf("%s: header(% x) = %d, %v, and left %+v, want 0, an error and %+v", role.name, head, n, err, *r, before)
			}
			if f := receive(t, r, role.wire(unhex(t, "80 01 a9")), 100); f.err != nil || f.ends != 1 {
				t.Errorf("%s: the rest of the message after % x: %v, %d messages, want no error, 1", role.name, head, f.err, f.ends)
			}
		}
	}
}

func TestReceiver_limit(t *testing.T) {
	tests := []struct {
		name  string
		limit int64
		sizes []int64 // of the fragments
		bad   int     // index of the one that is too big; -1: none
	}{
		{"F16 at the limit", 100, []int64{100}, -1},
		{"F16 one over", 100, []int64{101}, 0},
		{"F16 at the limit in fragments", 100, []int64{50, 0, 50}, -1},
		{"F16 one over in fragments", 100, []int64{50, 0, 51}, 2},
		{"F16 one over by a single byte", 100, []int64{100, 0, 1}, 2},
		{"limit 0", 0, []int64{0}, -1},
		{"limit 0 and one byte", 0, []int64{1}, 0},
		{"F9 2^63-1", 16 << 20, []int64{math.MaxInt64}, 0},
		{"F13 past 2^63 with a limit", 16 << 20, []int64{1, math.MaxInt64}, 1},
		{"F13 past 2^63 with the largest limit", math.MaxInt64, []int64{math.MaxInt64, 1}, 1},
		{"the largest message", math.MaxInt64, []int64{math.MaxInt64 - 1, 1}, -1},
		{"no limit", -1, []int64{math.MaxInt64}, -1},
		{"no limit, 2^63-1 in fragments", -1, []int64{1 << 62, 1<<62 - 1, 0}, -1},
		{"F13 no limit, past 2^63", -1, []int64{1 << 62, 1 << 62}, 1},
		{"F13 no limit, past 2^63 by one", -1, []int64{math.MaxInt64, 0, 1}, 2},
		{"F13 no limit, twice 2^63-1", -1, []int64{math.MaxInt64, math.MaxInt64}, 1},
	}
	for _, row := range tests {
		for _, role := range roles {
			t.Run(row.name+"/"+role.name, func(t *testing.T) {
				r := &receiver{sequence: sequence{server: role.server}, limit: row.limit}
				for round := range 2 { // the second message starts at 0 again
					for i, size := range row.sizes {
						h := Header{Fin: i == len(row.sizes)-1, Masked: role.server, Length: size}
						if i == 0 {
							h.Opcode = OpBinary
						}
						_, err := r.header(AppendHeader(nil, h))
						r.left = 0 // as if the payload had come
						if i == row.bad {
							if !errors.Is(err, ErrMessageTooBig) {
								t.Fatalf("round %d: frame %d of %d bytes: %v, want ErrMessageTooBig", round, i, size, err)
							}
							return
						}
						if err != nil {
							t.Fatalf("round %d: frame %d of %d bytes: %v, want no error", round, i, size, err)
						}
					}
				}
			})
		}
	}
}

// In discard, after our close frame, neither size nor content matters, but the
// frames still do.
func TestReceiver_discard(t *testing.T) {
	for _, role := range roles {
		t.Run(role.name, func(t *testing.T) {
			r := &receiver{sequence: sequence{server: role.server}, limit: 2, discard: true}
			wire := role.wire(unhex(t, "81 03 ff fe fd 01 01 c2 80 00 82 03 01 02 03"))
			if f := receive(t, r, wire, 100); f.err != nil || f.ends != 3 {
				t.Errorf("% x: %v after %d messages, want no error, 3", wire, f.err, f.ends)
			}
			for _, head := range []string{"02 7f 7fffffffffffffff", "80 7f 7fffffffffffffff"} {
				if _, err := r.header(role.wire(unhex(t, head))); err != nil {
					t.Errorf("header(%s): %v, want no error: no size is too big", head, err)
				}
				r.left = 0 // as if the payload had come
			}
			_, err := r.header(role.wire(unhex(t, "80 00")))
			violates(t, "a continuation of nothing", err, StatusProtocolError, "5.4")
		})
	}
}

func TestReceiver_atEnd(t *testing.T) {
	r := &receiver{limit: -1}
	check := func(when string, want bool) {
		t.Helper()
		if got := r.atEnd(); got != want {
			t.Errorf("atEnd() %s = %t, want %t", when, got, want)
		}
	}
	header := func(s string) {
		t.Helper()
		if _, err := r.header(unhex(t, s)); err != nil {
			t.Fatalf("header(%s): %v", s, err)
		}
	}
	check("before the first message", false)
	header("89 00")
	check("after a ping", false)
	header("01 01")
	check("in a fragment", false)
	if err := r.payload(make([]byte, 1), []byte("a")); err != nil {
		t.Fatal(err)
	}
	check("between fragments", false)
	header("80 02")
	check("in the last fragment", false)
	if err := r.payload(make([]byte, 1), []byte("b")); err != nil {
		t.Fatal(err)
	}
	check("inside the last fragment", false)
	if err := r.payload(make([]byte, 1), []byte("c")); err != nil {
		t.Fatal(err)
	}
	check("behind the last fragment", true)
	r.begun = false
	check("once it was taken", false)
}

// TestMisconceptions pins what many descriptions of the protocol have wrong
// about frames. What they have wrong about the opening handshake is pinned in
// handshake_test.go and dial_test.go.
func TestMisconceptions(t *testing.T) {
	t.Run("RSV bits are 1 without extensions", func(t *testing.T) {
		for _, bit := range []byte{RSV1, RSV2, RSV3} {
			for _, role := range roles {
				wire := role.wire(frame(Header{Fin: true, Rsv: bit, Opcode: OpText}, []byte("a")))
				got := receiveAll(t, &fuzzConn{in: wire}, role.server, nil).events
				if want := []string{"close 1002", "broken 1002"}; !slices.Equal(got, want) {
					t.Errorf("%s gets RSV bits %03b: %q, want %q", role.name, bit, got, want)
				}
			}
		}
	})
	t.Run("payload length 126 or 127 is the length", func(t *testing.T) {
		for _, row := range []struct {
			length int64
			bytes  int // of the header
			second byte
		}{
			{0, 2, 0}, {125, 2, 125}, {126, 4, 126}, {127, 4, 126}, {65535, 4, 126}, {65536, 10, 127}, {math.MaxInt64, 10, 127},
		} {
			b := AppendHeader(nil, Header{Length: row.length})
			if len(b) != row.bytes || b[1] != row.second {
				t.Errorf("AppendHeader with length %d = % x, want %d bytes, the second one %d", row.length, b, row.bytes, row.second)
			}
			if h, n, err := ParseHeader(b); h.Length != row.length || n != row.bytes || err != nil {
				t.Errorf("ParseHeader(% x) = %v, %d, %v, want length %d in %d bytes", b, h, n, err, row.length, row.bytes)
			}
		}
		_, _, err := ParseHeader(unhex(t, "82 7f 8000000000000000"))
		violates(t, "length 2^63", err, StatusProtocolError, "5.2")
	})
	t.Run("the mask is optional for clients", func(t *testing.T) {
		hello := frame(Header{Fin: true, Opcode: OpText}, []byte("Hello"))
		for _, row := range []struct {
			name   string
			wire   []byte
			server bool
			want   []string
		}{
			{"masked, from a client", asClient(hello), true, []string{`text "Hello"`, "lost"}},
			{"not masked, from a client", hello, true, []string{"close 1002", "broken 1002"}},
			{"not masked, from a server", hello, false, []string{`text "Hello"`, "lost"}},
			{"masked, from a server", asClient(hello), false, []string{"close 1002", "broken 1002"}},
		} {
			if got := receiveAll(t, &fuzzConn{in: row.wire}, row.server, nil).events; !slices.Equal(got, row.want) {
				t.Errorf("%s: %q, want %q", row.name, got, row.want)
			}
		}
	})
	t.Run("the mask encrypts", func(t *testing.T) {
		wire := asClient(frame(Header{Fin: true, Opcode: OpText}, []byte("Hello")))
		h, n, err := ParseHeader(wire)
		if err != nil {
			t.Fatal(err)
		}
		if Mask(h.Mask, 0, wire[n:]); string(wire[n:]) != "Hello" { // the key stands beside it
			t.Errorf("payload unmasked with the frame's own key = %q, want Hello", wire[n:])
		}
	})
}
