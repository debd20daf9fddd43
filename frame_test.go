package websocket

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// unhex returns the bytes that s spells in hex, with spaces between.
func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		tb.Fatalf("bad table: %q: %v", s, err)
	}
	return b
}

// frame returns a whole frame: h with the length of payload, which is masked
// if h says so.
func frame(h Header, payload []byte) []byte {
	h.Length = int64(len(payload))
	if h.Masked {
		payload, _ = maskSlowly(h.Mask, 0, payload)
	}
	return append(AppendHeader(nil, h), payload...)
}

// helloKey is the masking key of the RFC's examples.
var helloKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// violates checks that err is a *ProtocolError with the code and the section.
func violates(t *testing.T, call string, err error, code StatusCode, rule string) {
	t.Helper()
	var pe *ProtocolError
	if !errors.As(err, &pe) || pe.Code != code || pe.Rule != rule {
		t.Errorf("%s: error %v, want section %s and code %d", call, err, rule, code)
	}
}

// The example frames of RFC 6455, section 5.7, all of them.
var rfcFrames = []struct {
	name, wire string
	header     Header
	payload    string // unmasked
}{
	{"a single-frame unmasked text message", "81 05 48 65 6c 6c 6f",
		Header{Fin: true, Opcode: OpText, Length: 5}, "Hello"},
	{"a single-frame masked text message", "81 85 37 fa 21 3d 7f 9f 4d 51 58",
		Header{Fin: true, Opcode: OpText, Masked: true, Mask: helloKey, Length: 5}, "Hello"},
	{"a fragmented unmasked text message, first", "01 03 48 65 6c",
		Header{Opcode: OpText, Length: 3}, "Hel"},
	{"a fragmented unmasked text message, last", "80 02 6c 6f",
		Header{Fin: true, Opcode: OpContinuation, Length: 2}, "lo"},
	{"unmasked ping request", "89 05 48 65 6c 6c 6f",
		Header{Fin: true, Opcode: OpPing, Length: 5}, "Hello"},
	{"masked ping response", "8a 85 37 fa 21 3d 7f 9f 4d 51 58",
		Header{Fin: true, Opcode: OpPong, Masked: true, Mask: helloKey, Length: 5}, "Hello"},
	{"256 bytes binary message", "82 7e 0100" + strings.Repeat(" 01", 256),
		Header{Fin: true, Opcode: OpBinary, Length: 256}, strings.Repeat("\x01", 256)},
	{"64KiB binary message", "82 7f 0000000000010000" + strings.Repeat(" 01", 65536),
		Header{Fin: true, Opcode: OpBinary, Length: 65536}, strings.Repeat("\x01", 65536)},
}

func TestFrame_rfcExamples(t *testing.T) {
	for _, row := range rfcFrames {
		t.Run(row.name, func(t *testing.T) {
			wire := unhex(t, row.wire)
			h, n, err := ParseHeader(wire)
			if h != row.header || err != nil {
				t.Fatalf("ParseHeader(%.40s) = %+v, %v, want %+v", row.wire, h, err, row.header)
			}
			payload := bytes.Clone(wire[n:])
			if h.Masked {
				Mask(h.Mask, 0, payload)
			}
			if string(payload) != row.payload {
				t.Errorf("payload of %.40s = %.40q, want %.40q", row.wire, payload, row.payload)
			}
			if got := frame(row.header, []byte(row.payload)); !bytes.Equal(got, wire) {
				t.Errorf("frame(%v) = % .20x, want % .20x", row.header, got, wire)
			}
		})
	}
}

// headerRows pair a header with its only wire form.
var headerRows = []struct {
	name, wire string
	header     Header
	text       string // Header.String
}{
	{"empty text", "81 00", Header{Fin: true, Opcode: OpText}, "text fin len=0"},
	{"empty last fragment", "80 00", Header{Fin: true}, "continuation fin len=0"},
	{"middle fragment", "00 7d", Header{Length: 125}, "continuation len=125"},
	{"first fragment", "02 01", Header{Opcode: OpBinary, Length: 1}, "binary len=1"},
	{"close", "88 02", Header{Fin: true, Opcode: OpClose, Length: 2}, "close fin len=2"},
	{"ping", "89 00", Header{Fin: true, Opcode: OpPing}, "ping fin len=0"},
	{"pong", "8a 7d", Header{Fin: true, Opcode: OpPong, Length: 125}, "pong fin len=125"},
	{"RSV1", "c1 00", Header{Fin: true, Rsv: RSV1, Opcode: OpText}, "text fin rsv=100 len=0"},
	{"RSV2", "a1 00", Header{Fin: true, Rsv: RSV2, Opcode: OpText}, "text fin rsv=010 len=0"},
	{"RSV3", "91 00", Header{Fin: true, Rsv: RSV3, Opcode: OpText}, "text fin rsv=001 len=0"},
	{"all bits", "ff fd 01020304", Header{Fin: true, Rsv: 7, Opcode: 15, Masked: true, Mask: [4]byte{1, 2, 3, 4}, Length: 125}, "opcode 0xf fin rsv=111 len=125 mask=01020304"},
	{"reserved opcode", "03 00", Header{Opcode: 3}, "opcode 0x3 len=0"},
	{"masked", "81 85 37fa213d", Header{Fin: true, Opcode: OpText, Masked: true, Mask: helloKey, Length: 5}, "text fin len=5 mask=37fa213d"},
	{"F17 masked with zeroes", "81 85 00000000", Header{Fin: true, Opcode: OpText, Masked: true, Length: 5}, "text fin len=5 mask=00000000"},
	{"masked, 16 bits", "82 fe 007e 37fa213d", Header{Fin: true, Opcode: OpBinary, Masked: true, Mask: helloKey, Length: 126}, "binary fin len=126 mask=37fa213d"},
	{"masked, 64 bits", "82 ff 0000000000010000 37fa213d", Header{Fin: true, Opcode: OpBinary, Masked: true, Mask: helloKey, Length: 65536}, "binary fin len=65536 mask=37fa213d"},

	{"length 125", "82 7d", Header{Fin: true, Opcode: OpBinary, Length: 125}, "binary fin len=125"},
	{"length 126", "82 7e 007e", Header{Fin: true, Opcode: OpBinary, Length: 126}, "binary fin len=126"},
	{"length 127", "82 7e 007f", Header{Fin: true, Opcode: OpBinary, Length: 127}, "binary fin len=127"},
	{"length 65535", "82 7e ffff", Header{Fin: true, Opcode: OpBinary, Length: 65535}, "binary fin len=65535"},
	{"length 65536", "82 7f 0000000000010000", Header{Fin: true, Opcode: OpBinary, Length: 65536}, "binary fin len=65536"},
	{"length 2^31-1", "82 7f 000000007fffffff", Header{Fin: true, Opcode: OpBinary, Length: math.MaxInt32}, "binary fin len=2147483647"},
	{"length 2^31", "82 7f 0000000080000000", Header{Fin: true, Opcode: OpBinary, Length: 1 << 31}, "binary fin len=2147483648"},
	{"length 2^32", "82 7f 0000000100000000", Header{Fin: true, Opcode: OpBinary, Length: 1 << 32}, "binary fin len=4294967296"},
	{"length 2^63-1", "82 7f 7fffffffffffffff", Header{Fin: true, Opcode: OpBinary, Length: math.MaxInt64}, "binary fin len=9223372036854775807"},
}

func TestHeader(t *testing.T) {
	for _, row := range headerRows {
		t.Run(row.name, func(t *testing.T) {
			wire := unhex(t, row.wire)
			if got := AppendHeader([]byte("ab"), row.header); !bytes.Equal(got, append([]byte("ab"), wire...)) {
				t.Errorf("AppendHeader(\"ab\", %+v) = % x, want %s behind it", row.header, got, row.wire)
			}
			if got := row.header.String(); got != row.text {
				t.Errorf("%+v.String() = %q, want %q", row.header, got, row.text)
			}
			// Alone, and with a payload behind.
			for _, b := range [][]byte{wire, append(bytes.Clone(wire), "payload"...)} {
				if h, n, err := ParseHeader(b); h != row.header || n != len(wire) || err != nil {
					t.Errorf("ParseHeader(% x) = %+v, %d, %v, want %+v, %d, nil", b, h, n, err, row.header, len(wire))
				}
			}
			for n := range wire {
				if h, size, err := ParseHeader(wire[:n]); h != (Header{}) || size != 0 || err != nil {
					t.Errorf("ParseHeader(% x) = %+v, %d, %v, want more bytes: zero, 0, nil", wire[:n], h, size, err)
				}
			}
		})
	}
}

func TestReadHeader(t *testing.T) {
	readers := []struct {
		name string
		slow func(io.Reader) io.Reader
	}{
		{"whole", func(r io.Reader) io.Reader { return r }},
		{"one byte at a time", iotest.OneByteReader},
		{"by halves", iotest.HalfReader},
		{"data with error", iotest.DataErrReader},
	}
	for _, row := range headerRows {
		wire := unhex(t, row.wire)
		for _, reader := range readers {
			t.Run(row.name+"/"+reader.name, func(t *testing.T) {
				h, err := ReadHeader(reader.slow(bytes.NewReader(wire)))
				if h != row.header || err != nil {
					t.Errorf("ReadHeader(%s) = %+v, %v, want %+v", row.wire, h, err, row.header)
				}
				for n := range wire {
					want := io.ErrUnexpectedEOF
					if n == 0 {
						want = io.EOF
					}
					if h, err := ReadHeader(reader.slow(bytes.NewReader(wire[:n]))); h != (Header{}) || err != want {
						t.Errorf("ReadHeader(% x) = %+v, %v, want the zero Header, %v", wire[:n], h, err, want)
					}
				}
			})
		}
		t.Run(row.name+"/not a byte more", func(t *testing.T) {
			r := bytes.NewReader(append(bytes.Clone(wire), "payload"...))
			if _, err := ReadHeader(r); err != nil || r.Len() != len("payload") {
				t.Errorf("ReadHeader(%s payload): %v, %d bytes left, want %d", row.wire, err, r.Len(), len("payload"))
			}
		})
	}
}

func TestReadHeader_error(t *testing.T) {
	broken := errors.New("broken line")
	for n := range 4 {
		r := io.MultiReader(bytes.NewReader(unhex(t, "82 7e 0100")[:n]), iotest.ErrReader(broken))
		if h, err := ReadHeader(r); h != (Header{}) || err != broken {
			t.Errorf("ReadHeader, an error after %d bytes = %+v, %v, want the zero Header, %v", n, h, err, broken)
		}
	}
}

// badLengths are the second byte of a header and the length behind it, in
// forms that section 5.2 forbids. The mask bit is not set.
var badLengths = []struct{ name, wire string }{
	{"F7 125 in 16 bits", "7e 007d"},
	{"F7 0 in 16 bits", "7e 0000"},
	{"F7 65535 in 64 bits", "7f 000000000000ffff"},
	{"F7 126 in 64 bits", "7f 000000000000007e"},
	{"F7 5 in 64 bits", "7f 0000000000000005"},
	{"F7 0 in 64 bits", "7f 0000000000000000"},
	{"F8 2^63", "7f 8000000000000000"},
	{"F8 2^63+5", "7f 8000000000000005"},
	{"F8 2^63+65536", "7f 8000000000010000"},
	{"F8 2^64-1", "7f ffffffffffffffff"},
}

func TestParseHeader_badLength(t *testing.T) {
	for _, row := range badLengths {
		t.Run(row.name, func(t *testing.T) {
			for first := range 256 { // every opcode, FIN and RSV
				for _, masked := range []bool{false, true} {
					wire := append([]byte{byte(first)}, unhex(t, row.wire)...)
					if masked {
						wire[1] |= maskBit
						wire = append(wire, helloKey[:]...)
					}
					h, n, err := ParseHeader(wire)
					violates(t, fmt.Sprintf("ParseHeader(% x)", wire), err, StatusProtocolError, "5.2")
					if h != (Header{}) || n != 0 {
						t.Errorf("ParseHeader(% x) = %+v, %d, want the zero Header, 0", wire, h, n)
					}
					h, err = ReadHeader(bytes.NewReader(wire))
					violates(t, fmt.Sprintf("ReadHeader(% x)", wire), err, StatusProtocolError, "5.2")
					if h != (Header{}) {
						t.Errorf("ReadHeader(% x) = %+v, want the zero Header", wire, h)
					}
				}
			}
		})
	}
}

// What does not fit into the header's bits is not written beside them.
func TestAppendHeader_excess(t *testing.T) {
	got := AppendHeader(nil, Header{Rsv: 0xFF, Opcode: 0xF1, Mask: helloKey, Length: 1})
	if want := []byte{0x71, 0x01}; !bytes.Equal(got, want) {
		t.Errorf("AppendHeader with 8 RSV bits, an 8-bit opcode and a key of no mask = % x, want % x", got, want)
	}
}

func TestHeader_allocations(t *testing.T) {
	wire := unhex(t, "82 ff 0000000000010000 37fa213d")
	buf := make([]byte, 0, MaxHeaderSize)
	var h Header
	if n := testing.AllocsPerRun(100, func() { h, _, _ = ParseHeader(wire) }); n != 0 {
		t.Errorf("ParseHeader: %v allocations, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { AppendHeader(buf, h) }); n != 0 {
		t.Errorf("AppendHeader: %v allocations, want 0", n)
	}
	if len(wire) != MaxHeaderSize {
		t.Errorf("the longest header has %d bytes, MaxHeaderSize is %d", len(wire), MaxHeaderSize)
	}
}

// TestOpcode is the table of RFC 6455, section 5.2.
func TestOpcode(t *testing.T) {
	type properties struct {
		control, data, reserved bool
		name                    string
	}
	named := map[Opcode]properties{
		OpContinuation: {name: "continuation"},
		OpText:         {data: true, name: "text"},
		OpBinary:       {data: true, name: "binary"},
		OpClose:        {control: true, name: "close"},
		OpPing:         {control: true, name: "ping"},
		OpPong:         {control: true, name: "pong"},
	}
	numbers := []Opcode{0, 1, 2, 8, 9, 10}
	for op := range Opcode(16) {
		want, ok := named[op]
		if ok != slices.Contains(numbers, op) {
			t.Errorf("opcode %#x: named %t, want %t", byte(op), ok, !ok)
		}
		if !ok {
			want = properties{control: op >= 8, reserved: true, name: fmt.Sprintf("opcode 0x%x", byte(op))}
		}
		if got := (properties{op.IsControl(), op.IsData(), op.IsReserved(), op.String()}); got != want {
			t.Errorf("opcode %#x is %+v, want %+v", byte(op), got, want)
		}
	}
	for _, op := range []Opcode{0x10, 0x11, 0x19, 0x81, 0xFF} { // not of four bits
		if !op.IsReserved() || op.IsData() {
			t.Errorf("opcode %#x: reserved %t, data %t, want true, false", byte(op), op.IsReserved(), op.IsData())
		}
	}
}

// TestStatusCode_Sendable has the borders by name (C3, C4) and then every
// number there is.
func TestStatusCode_Sendable(t *testing.T) {
	for _, row := range []struct {
		id    string
		codes []StatusCode
		want  bool
	}{
		{"C3", []StatusCode{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535}, false},
		{"C4", []StatusCode{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}, true},
	} {
		for _, code := range row.codes {
			t.Run(fmt.Sprintf("%s %d", row.id, uint16(code)), func(t *testing.T) {
				if got := code.Sendable(); got != row.want {
					t.Errorf("StatusCode(%d).Sendable() = %t, want %t", uint16(code), got, row.want)
				}
			})
		}
	}
	for n := range 1 << 16 {
		code := StatusCode(n)
		if got, want := code.Sendable(), modelCode([]byte{byte(n >> 8), byte(n)}); got != want {
			t.Errorf("StatusCode(%d).Sendable() = %t, want %t", n, got, want)
		}
	}
}

func TestStatusCode_String(t *testing.T) {
	for _, row := range []struct {
		code StatusCode
		want string
	}{
		{1000, "1000 normal closure"},
		{1001, "1001 going away"},
		{1002, "1002 protocol error"},
		{1003, "1003 unsupported data"},
		{1005, "1005 no status received"},
		{1006, "1006 abnormal closure"},
		{1007, "1007 invalid payload"},
		{1008, "1008 policy violation"},
		{1009, "1009 message too big"},
		{1010, "1010 mandatory extension"},
		{1011, "1011 internal error"},
		{1012, "1012 service restart"},
		{1013, "1013 try again later"},
		{1014, "1014 bad gateway"},
		{1015, "1015 TLS handshake failure"},
		{1004, "1004"},
		{4321, "4321"},
		{0, "0"},
	} {
		if got := row.code.String(); got != row.want {
			t.Errorf("StatusCode(%d).String() = %q, want %q", uint16(row.code), got, row.want)
		}
	}
}

// closeRows are payloads of close frames. A row without a failure must come
// out of AppendClosePayload again.
var closeRows = []struct {
	name, wire string
	code       StatusCode
	reason     string
	failure    StatusCode // what the peer is told; 0: the payload is right
	rule       string
}{
	{"C1 empty", "", 1005, "", 0, ""},
	{"C2 one byte", "03", 0, "", 1002, "5.5.1"},
	{"C2 one zero byte", "00", 0, "", 1002, "5.5.1"},
	{"C3 0", "0000", 0, "", 1002, "7.4"},
	{"C3 1", "0001", 0, "", 1002, "7.4"},
	{"C3 999", "03e7", 0, "", 1002, "7.4"},
	{"C3 1004", "03ec", 0, "", 1002, "7.4"},
	{"C3 1005", "03ed", 0, "", 1002, "7.4"},
	{"C3 1006", "03ee", 0, "", 1002, "7.4"},
	{"C3 1015", "03f7", 0, "", 1002, "7.4"},
	{"C3 1016", "03f8", 0, "", 1002, "7.4"},
	{"C3 1100", "044c", 0, "", 1002, "7.4"},
	{"C3 2000", "07d0", 0, "", 1002, "7.4"},
	{"C3 2999", "0bb7", 0, "", 1002, "7.4"},
	{"C3 5000", "1388", 0, "", 1002, "7.4"},
	{"C3 65535", "ffff", 0, "", 1002, "7.4"},
	{"C3 1006 with a reason", "03ee 67 6f 6e 65", 0, "", 1002, "7.4"},
	{"C3 0 with a reason that is not UTF-8", "0000 ff", 0, "", 1002, "7.4"},
	{"C4 1000", "03e8", 1000, "", 0, ""},
	{"C4 1001 with a reason", "03e9 62 79 65", 1001, "bye", 0, ""},
	{"C4 1003", "03eb", 1003, "", 0, ""},
	{"C4 1007", "03ef", 1007, "", 0, ""},
	{"C4 1014", "03f6", 1014, "", 0, ""},
	{"C4 3000", "0bb8", 3000, "", 0, ""},
	{"C4 3999", "0f9f", 3999, "", 0, ""},
	{"C4 4000", "0fa0", 4000, "", 0, ""},
	{"C4 4999", "1387", 4999, "", 0, ""},
	{"C5 reason FF", "03e8 ff", 0, "", 1007, "5.5.1"},
	{"C5 reason cut inside a code point", "03e8 e2 82", 0, "", 1007, "5.5.1"},
	{"C5 reason with a surrogate", "03e8 ed a0 80", 0, "", 1007, "5.5.1"},
	{"C6 reason of 123 bytes", "03e8" + strings.Repeat(" 7a", 123), 1000, strings.Repeat("z", 123), 0, ""},
	{"reason of all kinds of code points", "03e8 24 c2 a2 e2 82 ac f0 90 8d 88", 1000, "$¢€\U00010348", 0, ""},
}

func TestClosePayload(t *testing.T) {
	for _, row := range closeRows {
		t.Run(row.name, func(t *testing.T) {
			wire := unhex(t, row.wire)
			code, reason, err := ParseClosePayload(wire)
			if code != row.code || reason != row.reason {
				t.Errorf("ParseClosePayload(%s) = %d, %q, want %d, %q", row.wire, code, reason, row.code, row.reason)
			}
			if row.failure != 0 {
				violates(t, "ParseClosePayload("+row.wire+")", err, row.failure, row.rule)
				return
			}
			if err != nil {
				t.Errorf("ParseClosePayload(%s): %v, want no error", row.wire, err)
			}
			got, err := AppendClosePayload([]byte("ab"), code, reason)
			if err != nil || !bytes.Equal(got, append([]byte("ab"), wire...)) {
				t.Errorf("AppendClosePayload(\"ab\", %d, %q) = % x, %v, want %s behind it", code, reason, got, err, row.wire)
			}
		})
	}
}

func TestAppendClosePayload_refused(t *testing.T) {
	for _, row := range []struct {
		name   string
		code   StatusCode
		reason string
		say    string
	}{
		{"C6 reason of 124 bytes", 1000, strings.Repeat("z", 124), "124 bytes, want 123"},
		{"C6 code 1005 with a reason", 1005, "none", "1005 no status received may not"},
		{"C6 code 1006", 1006, "", "1006 abnormal closure may not"},
		{"C6 code 999", 999, "", "999 may not"},
		{"code 1015", 1015, "", "1015"},
		{"code 0", 0, "", "0 may not"},
		{"reason is not UTF-8", 1000, "\xff", "not UTF-8"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := AppendClosePayload([]byte("ab"), row.code, row.reason)
			if err == nil || !strings.Contains(err.Error(), row.say) || string(got) != "ab" {
				t.Errorf("AppendClosePayload(\"ab\", %d, %q) = %q, %v, want \"ab\" and an error with %q", row.code, row.reason, got, err, row.say)
			}
		})
	}
}

func TestCloseError(t *testing.T) {
	refused := &net.OpError{Op: "read", Err: errors.New("connection reset")}
	for _, row := range []struct {
		name string
		err  error
		want string
		is   error
	}{
		{"code", &CloseError{Code: 1001}, "websocket: closed by peer: 1001 going away", nil},
		{"code and reason", &CloseError{Code: 4000, Reason: "so\r\nlong"}, `websocket: closed by peer: 4000: "so\r\nlong"`, nil},
		{"long reason", &CloseError{Code: 1000, Reason: strings.Repeat("é", 60)}, "websocket: closed by peer: 1000 normal closure: \"" + strings.Repeat("é", 60) + "\"…", nil},
		{"no status", &CloseError{Code: 1005}, "websocket: closed by peer: 1005 no status received", nil},
		{"end of stream", lost(io.EOF), "websocket: connection lost (1006): unexpected EOF", io.ErrUnexpectedEOF},
		{"network error", lost(refused), "websocket: connection lost (1006): read: connection reset", refused},
		{"1006 without a cause", &CloseError{Code: 1006}, "websocket: closed by peer: 1006 abnormal closure", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := row.err.Error()
			if row.name == "long reason" { // cut where quote cuts
				if !strings.HasSuffix(got, "…") || len(got) > 200 {
					t.Errorf("Error() = %s, want it cut", got)
				}
			} else if got != row.want {
				t.Errorf("Error() = %s, want %s", got, row.want)
			}
			if got := errors.Unwrap(row.err); got != row.is {
				t.Errorf("Unwrap() = %v, want %v", got, row.is)
			}
		})
	}
	if errors.Is(lost(io.EOF), io.EOF) {
		t.Error("errors.Is(lost(io.EOF), io.EOF) = true: a lost line is not a regular end")
	}
}

func TestProtocolError(t *testing.T) {
	for _, row := range []struct {
		wire, want string
	}{
		{"82 7e 0005", "websocket: peer broke RFC 6455, section 5.2: length 5 in 16 bits, want 7"},
		{"82 7f 0000000000000005", "websocket: peer broke RFC 6455, section 5.2: length 5 in 64 bits, want fewer"},
		{"82 7f 8000000000000000", "websocket: peer broke RFC 6455, section 5.2: length 0x8000000000000000 has its top bit set"},
	} {
		if _, _, err := ParseHeader(unhex(t, row.wire)); err == nil || err.Error() != row.want {
			t.Errorf("ParseHeader(%s): %v, want %s", row.wire, err, row.want)
		}
	}
}

func TestQuote(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"plain", `"plain"`},
		{"a\nb\x1b[31m\xff", `"a\nb\x1b[31m\xff"`},
		{strings.Repeat("x", 64), `"` + strings.Repeat("x", 64) + `"`},
		{strings.Repeat("x", 65), `"` + strings.Repeat("x", 64) + `"…`},
	} {
		if got := quote(row.in); got != row.want {
			t.Errorf("quote(%q) = %s, want %s", row.in, got, row.want)
		}
	}
}

// What is told to the peer fits into a close frame for every error, and says
// nothing of the error's text.
func TestWireClose(t *testing.T) {
	const secret = "secret"
	long := strings.Repeat(secret, 100)
	for _, row := range []struct {
		name string
		err  error
		code StatusCode
		want string
	}{
		{"framing", violation("5.2", "%s", long), 1002, "protocol error, RFC 6455 section 5.2"},
		{"text", invalidText("8.1", long), 1007, "text is not UTF-8"},
		{"fragments", &ProtocolError{Code: 1008, Rule: "10.4", Msg: long}, 1008, "too many fragments"},
		{"size", ErrMessageTooBig, 1009, "message too big"},
		{"size, wrapped", fmt.Errorf("%w: %s", ErrMessageTooBig, long), 1009, "message too big"},
		{"framing, wrapped", fmt.Errorf("%s: %w", long, violation("5.5", "x")), 1002, "protocol error, RFC 6455 section 5.5"},
		{"anything else", errors.New(long), 1011, ""},
		{"of the network", lost(io.EOF), 1011, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, reason := wireClose(row.err)
			if code != row.code || reason != row.want {
				t.Errorf("wireClose(%.40v) = %d, %q, want %d, %q", row.err, code, reason, row.code, row.want)
			}
			if p, err := AppendClosePayload(nil, code, reason); err != nil || len(p) > maxControlPayload || bytes.Contains(p, []byte(secret)) {
				t.Errorf("AppendClosePayload(%d, %q) = %q, %v, want a payload of %d bytes at most", code, reason, p, err, maxControlPayload)
			}
		})
	}
}
