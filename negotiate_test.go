package websocket

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// agreed is what TestAccept and TestAgree look at of a Compression.
func agreed(o *Compression) string {
	if o == nil {
		return "none"
	}
	s := fmt.Sprintf("write %d", o.WriteWindowBits)
	if o.NoWriteTakeover {
		s += " alone"
	}
	s += fmt.Sprintf(", read %d", o.ReadWindowBits)
	if o.NoReadTakeover {
		s += " alone"
	}
	return s
}

// acceptRows are what a server answers to offers, and what is agreed on then,
// from its side: "alone" is without context takeover. RFC 7692, section 7.1.
var acceptRows = []struct {
	name         string
	o            Compression
	offer        string
	answer, want string
}{
	{"Chrome", Compression{}, "permessage-deflate; client_max_window_bits",
		"permessage-deflate; client_max_window_bits=12", "write 12, read 12"},
	{"a client that cannot bound its window", Compression{}, "permessage-deflate",
		"permessage-deflate; client_no_context_takeover", "write 12, read 15 alone"},
	{"the same, and a server that takes any", Compression{ReadWindowBits: 15}, "permessage-deflate",
		"permessage-deflate", "write 12, read 15"},
	{"all four", Compression{}, "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; client_max_window_bits=11",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; client_max_window_bits=11", "write 10 alone, read 11 alone"},
	{"gorilla", Compression{}, "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover", "write 15 alone, read 15 alone"},
	{"the server's window larger than ours", Compression{}, "permessage-deflate; server_max_window_bits=15; client_max_window_bits=15",
		"permessage-deflate; server_max_window_bits=12; client_max_window_bits=12", "write 12, read 12"},
	{"the smallest windows", Compression{}, "permessage-deflate; server_max_window_bits=8; client_max_window_bits=8",
		"permessage-deflate; server_max_window_bits=8; client_max_window_bits=8", "write 8, read 8"},
	{"nothing kept", Compression{NoWriteTakeover: true, NoReadTakeover: true}, "permessage-deflate; client_max_window_bits",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover", "write 15 alone, read 15 alone"},
	{"nothing kept and a small window", Compression{NoWriteTakeover: true, WriteWindowBits: 9, ReadWindowBits: 15}, "permessage-deflate; server_max_window_bits=10; client_max_window_bits",
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=9", "write 9 alone, read 15"},
	{"H14 quoted", Compression{}, `permessage-deflate; server_max_window_bits="10"; client_max_window_bits="9"`,
		"permessage-deflate; server_max_window_bits=10; client_max_window_bits=9", "write 10, read 9"},
	{"H14 others beside", Compression{}, "x-webkit-deflate-frame, permessage-bzip2; x=1, permessage-deflate; client_max_window_bits, y",
		"permessage-deflate; client_max_window_bits=12", "write 12, read 12"},
	{"H14 the first that can be met", Compression{}, "permessage-deflate; server_max_window_bits=10; client_max_window_bits, permessage-deflate; client_max_window_bits",
		"permessage-deflate; server_max_window_bits=10; client_max_window_bits=12", "write 10, read 12"},

	{"H14 unknown parameter", Compression{}, "permessage-deflate; x", "", "none"},
	{"H14 unknown parameter, then a good offer", Compression{}, "permessage-deflate; x=1, permessage-deflate; client_max_window_bits",
		"permessage-deflate; client_max_window_bits=12", "write 12, read 12"},
	{"H14 flag twice", Compression{}, "permessage-deflate; server_no_context_takeover; server_no_context_takeover", "", "none"},
	{"H14 bits twice", Compression{}, "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", "", "none"},
	{"H14 client's bits twice", Compression{}, "permessage-deflate; client_max_window_bits; client_max_window_bits=10", "", "none"},
	{"H14 flag with a value", Compression{}, "permessage-deflate; server_no_context_takeover=1", "", "none"},
	{"H14 client's flag with a value", Compression{}, "permessage-deflate; client_no_context_takeover=true", "", "none"},
	{"H14 server's bits without a value", Compression{}, "permessage-deflate; server_max_window_bits", "", "none"},
	{"H14 parameter in capitals", Compression{}, "permessage-deflate; Server_No_Context_Takeover", "", "none"},
	{"H14 another name", Compression{}, "permessage-deflate2", "", "none"},
}

// badBits are values that no window may have.
var badBits = []string{"0", "7", "16", "08", "015", "+9", "-9", "999", "1e1", "0x9", "9.0", "18446744073709551625", `"08"`, `"+9"`, `"16"`}

func acceptLine(t *testing.T, o *Compression, line string) (*Compression, string) {
	t.Helper()
	offers, err := parseExtensions([]string{line})
	if err != nil {
		t.Fatalf("parseExtensions(%q): %v", line, err)
	}
	return o.accept(offers)
}

func TestAccept(t *testing.T) {
	for _, tt := range acceptRows {
		got, answer := acceptLine(t, &tt.o, tt.offer)
		if answer != tt.answer || agreed(got) != tt.want {
			t.Errorf("%s: %v answers %q with %q and %s, want %q and %s", tt.name, tt.o, tt.offer, answer, agreed(got), tt.answer, tt.want)
		}
		if got, answer := acceptLine(t, nil, tt.offer); got != nil || answer != "" {
			t.Errorf("%s: without compression %q is answered with %q, %s", tt.name, tt.offer, answer, agreed(got))
		}
	}
	for _, bits := range badBits {
		for _, name := range []string{serverWindowBits, clientWindowBits} {
			bad := permessageDeflate + "; " + name + "=" + bits
			if got, answer := acceptLine(t, &Compression{}, bad); got != nil || answer != "" {
				t.Errorf("H14 %q is answered with %q, %s, want it declined", bad, answer, agreed(got))
			}
			second := bad + ", permessage-deflate; client_no_context_takeover"
			if _, answer := acceptLine(t, &Compression{}, second); answer != "permessage-deflate; client_no_context_takeover" {
				t.Errorf("H14 %q is answered with %q, want the second offer accepted", second, answer)
			}
		}
	}
}

// agreeRows are what a client makes of a server's answer; "" for an error.
var agreeRows = []struct {
	name         string
	o            *Compression
	answer, want string
}{
	{"declined", &Compression{}, "", "none"},
	{"as asked", &Compression{}, "permessage-deflate; server_max_window_bits=12", "write 12, read 12"},
	{"less than asked", &Compression{}, "permessage-deflate; server_max_window_bits=8; client_max_window_bits=9", "write 9, read 8"},
	{"the second offer, as gorilla has it", &Compression{}, "permessage-deflate; server_no_context_takeover; client_no_context_takeover", "write 12 alone, read 15 alone"},
	{"no takeover, and a window that then does not matter", &Compression{}, "permessage-deflate; server_no_context_takeover; server_max_window_bits=15", "write 12, read 15 alone"},
	{"any window will do", &Compression{ReadWindowBits: 15}, "permessage-deflate", "write 12, read 15"},
	{"takeover refused by the server", &Compression{ReadWindowBits: 15}, "permessage-deflate; server_no_context_takeover", "write 12, read 15 alone"},
	{"our own takeover off", &Compression{NoWriteTakeover: true}, "permessage-deflate; server_max_window_bits=12", "write 15 alone, read 12"},
	{"D4 quoted", &Compression{}, `permessage-deflate; server_max_window_bits="11"`, "write 12, read 11"},

	{"D4 nothing was offered", nil, "permessage-deflate", ""},
	{"D4 another extension", &Compression{ReadWindowBits: 15}, "x", ""},
	{"D4 another extension beside", &Compression{}, "permessage-deflate; server_max_window_bits=12, x", ""},
	{"D4 twice", &Compression{}, "permessage-deflate; server_max_window_bits=12, permessage-deflate; server_max_window_bits=12", ""},
	{"D4 unknown parameter", &Compression{}, "permessage-deflate; server_max_window_bits=12; x", ""},
	{"D4 parameter twice", &Compression{}, "permessage-deflate; server_max_window_bits=12; server_max_window_bits=12", ""},
	{"D4 flag twice", &Compression{}, "permessage-deflate; server_no_context_takeover; server_no_context_takeover", ""},
	{"D4 flag with a value", &Compression{}, "permessage-deflate; server_no_context_takeover=1", ""},
	{"D4 client's bits without a value", &Compression{ReadWindowBits: 15}, "permessage-deflate; client_max_window_bits", ""},
	{"the client's bits larger than ours", &Compression{}, "permessage-deflate; server_max_window_bits=12; client_max_window_bits=13", "write 12, read 12"},
	{"D4 no bound on the server's window", &Compression{}, "permessage-deflate", ""},
	{"D4 a window larger than asked", &Compression{}, "permessage-deflate; server_max_window_bits=13", ""},
	{"D4 takeover though refused", &Compression{NoReadTakeover: true}, "permessage-deflate; server_max_window_bits=8", ""},
}

func TestAgree(t *testing.T) {
	rows := agreeRows
	for _, bits := range badBits {
		for _, name := range []string{serverWindowBits, clientWindowBits} {
			rows = append(rows, struct {
				name         string
				o            *Compression
				answer, want string
			}{"D4 bits", &Compression{ReadWindowBits: 15}, permessageDeflate + "; " + name + "=" + bits, ""})
		}
	}
	for _, tt := range rows {
		var answer []extension
		if tt.answer != "" {
			var err error
			if answer, err = parseExtensions([]string{tt.answer}); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
		}
		got, err := tt.o.agree(answer)
		if (err == nil) != (tt.want != "") || err == nil && agreed(got) != tt.want || err != nil && got != nil {
			t.Errorf("%s: the answer %q comes to %s, %v, want %q", tt.name, tt.answer, agreed(got), err, tt.want)
		}
	}
}

// What a client offers.
func TestOffers(t *testing.T) {
	for _, tt := range []struct {
		o    *Compression
		want string
	}{
		{nil, ""},
		{&Compression{}, "permessage-deflate; server_max_window_bits=12; client_max_window_bits, permessage-deflate; server_no_context_takeover; client_max_window_bits"},
		{&Compression{ReadWindowBits: 15}, "permessage-deflate; client_max_window_bits"},
		{&Compression{NoReadTakeover: true}, "permessage-deflate; server_no_context_takeover; client_max_window_bits"},
		{&Compression{NoReadTakeover: true, NoWriteTakeover: true}, "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"},
		{&Compression{WriteWindowBits: 8, ReadWindowBits: 9}, "permessage-deflate; server_max_window_bits=9; client_max_window_bits, permessage-deflate; server_no_context_takeover; client_max_window_bits"},
	} {
		if got := formatOffers(tt.o.offers()); got != tt.want {
			t.Errorf("offers of %v = %q, want %q", tt.o, got, tt.want)
		}
	}
}

// Whatever a client and a server of ours have set, they agree, and on the same:
// nobody writes what the other cannot read, or holds more than it set.
func TestNegotiate_allSettings(t *testing.T) {
	var all []Compression
	for flags := range 4 {
		for write := minWindowBits; write <= maxWindowBits; write++ {
			for read := minWindowBits; read <= maxWindowBits; read++ {
				all = append(all, Compression{NoWriteTakeover: flags&1 != 0, NoReadTakeover: flags&2 != 0, WriteWindowBits: write, ReadWindowBits: read})
			}
		}
	}
	oneWay := func(writer, reader Compression) bool {
		return writer.NoWriteTakeover == reader.NoReadTakeover && (reader.NoReadTakeover || writer.WriteWindowBits <= reader.ReadWindowBits)
	}
	for _, server := range all {
		for _, client := range all {
			s, answer := acceptLine(t, &server, formatOffers(client.offers()))
			list, err := parseExtensions([]string{answer})
			if err != nil {
				t.Fatalf("the answer %q: %v", answer, err)
			}
			c, err := client.agree(list)
			if pipeServer, pipeClient := server.negotiate(&client); s == nil || c == nil || *pipeServer != *s || *pipeClient != *c {
				t.Fatalf("server %v, client %v: a Pipe agrees on other settings", server, client)
			}
			if err != nil || !oneWay(*s, *c) || !oneWay(*c, *s) {
				t.Fatalf("server %v, client %v: %s and %s, %v", server, client, agreed(s), agreed(c), err)
			}
			keepsTo(t, server, *s)
			keepsTo(t, client, *c)
		}
	}
}

// Without the consent of both sides there is no compression.
func TestNegotiate_oneSide(t *testing.T) {
	on := &Options{Compression: &Compression{}}
	for _, tt := range []struct{ server, client *Options }{{on, nil}, {nil, on}, {nil, nil}} {
		s, c := Pipe(tt.server, tt.client)
		if s.Compression() != nil || c.Compression() != nil {
			t.Errorf("server %v, client %v: agreed on %v, %v, want none", tt.server, tt.client, s.Compression(), c.Compression())
		}
		s.CloseNow()
		c.CloseNow()
	}
}

// The header fields of a whole handshake, on both sides.
func TestHandshake_compression(t *testing.T) {
	for _, tt := range acceptRows {
		t.Run(tt.name, func(t *testing.T) {
			s := serveUpgrades(t, &Upgrader{Options: Options{Compression: &tt.o}}, nil)
			c := dialServer(t, s.Listener.Addr().String())
			writeWhole(c, rawRequest(getChat, "Sec-WebSocket-Extensions: "+tt.offer))
			resp := c.response(t, "GET")
			if err := <-s.errs; err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(resp.Header.Values("Sec-WebSocket-Extensions"), "|"); resp.StatusCode != http.StatusSwitchingProtocols || got != tt.answer {
				t.Errorf("%q is answered with %d, %q, want 101, %q", tt.offer, resp.StatusCode, got, tt.answer)
			}
		})
	}
	for _, tt := range agreeRows {
		t.Run(tt.name, func(t *testing.T) {
			offered := make(chan string, 1)
			s := serveReplies(t, func(nc net.Conn, r *http.Request) {
				offered <- strings.Join(r.Header.Values("Sec-WebSocket-Extensions"), "|")
				edits := []string{"Sec-WebSocket-Extensions: " + tt.answer}
				if tt.answer == "" {
					edits = nil
				}
				writeWhole(nc, goodReply(r.Header.Get("Sec-WebSocket-Key"), edits...))
			})
			d := &Dialer{Client: newClient(t, nil), Options: Options{Compression: tt.o}}
			c, _, err := d.Dial(t.Context(), s.url)
			if got, want := <-offered, formatOffers(tt.o.offers()); got != want {
				t.Errorf("offered %q, want %q", got, want)
			}
			if tt.want == "" {
				var he *HandshakeError
				if !errors.As(err, &he) || he.Status != 101 || !strings.Contains(he.Reason, "Sec-WebSocket-Extensions") {
					t.Errorf("Dial: %v, want a *HandshakeError that names the field", err)
				}
				return
			}
			if err != nil {
				t.Fatalf("Dial: %v", err)
			}
			defer c.CloseNow()
			got := c.Compression()
			if agreed(got) != tt.want {
				t.Errorf("Compression() is %s, want %s", agreed(got), tt.want)
			}
			if got != nil {
				if *got = (Compression{}); agreed(c.Compression()) != tt.want {
					t.Errorf("Compression() is not a copy")
				}
			}
		})
	}
}
