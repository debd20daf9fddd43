package peers

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strings"
)

// A step is one thing that the client of a scenario does. Steps travel as JSON
// to clients in other languages, so each has an interpreter of steps and
// nothing else: runScript in Go, js/client.mjs, py/client.py.
type step struct {
	// Do is one of
	//	send       a message of one frame
	//	fragments  a message in Pieces frames or more, with a ping before each but the first if Ping is set
	//	recv       wait for one message
	//	ping       send a ping and wait for its pong
	//	close      do the closing handshake with Code and Reason; 1005 stands for an empty close frame
	//	closed     wait for the server to close
	//	cut        end the TCP connection without a close frame
	Do     string `json:"do"`
	Op     string `json:"op,omitempty"`   // "text" or "binary"
	Chunk  string `json:"chunk"`          // text: repeated up to Size bytes; binary messages have a pattern of their own
	Size   int    `json:"size,omitempty"` // of the payload in bytes
	Pieces int    `json:"pieces,omitempty"`
	Ping   bool   `json:"ping,omitempty"`
	Code   int    `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// An event is one thing that the client saw: open (Text: the subprotocol),
// text and binary (Size and CRC of the payload), pong, closed (Code, and in
// Text the reason if it was the server who closed).
type event struct {
	Op   string `json:"op"`
	Size int    `json:"size,omitempty"`
	CRC  uint32 `json:"crc,omitempty"`
	Code int    `json:"code,omitempty"`
	Text string `json:"text,omitempty"`
}

func (e event) String() string {
	switch e.Op {
	case "text", "binary":
		return fmt.Sprintf("%s(%d bytes, crc %08x)", e.Op, e.Size, e.CRC)
	case "closed":
		return fmt.Sprintf("closed(%d %q)", e.Code, e.Text)
	case "open":
		return fmt.Sprintf("open(%q)", e.Text)
	}
	return e.Op + e.Text
}

// An ending is how a connection ended as its server saw it. Code is 1006 if no
// close frame came; Reason then says what the library reported, for people.
type ending struct {
	ID     string `json:"id"`
	Code   int    `json:"code"`
	Reason string `json:"reason"`
}

// binaryPattern is what binary messages repeat: every byte value once, and not
// in an order that a misplaced mask could reproduce by being shifted.
var binaryPattern = func() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i*7 + 3)
	}
	return b
}()

// payload is what a message with op, chunk and size consists of.
func payload(op, chunk string, size int) []byte {
	pattern := []byte(chunk)
	if op == "binary" {
		pattern = binaryPattern
	}
	if size == 0 {
		return []byte{}
	}
	return bytes.Repeat(pattern, size/len(pattern)+1)[:size]
}

// message is the event of receiving p.
func message(op string, p []byte) event {
	return event{Op: op, Size: len(p), CRC: crc32.ChecksumIEEE(p)}
}

// cut divides p into n pieces of nearly the same length, in the middle of a
// character where it so happens.
func cut(p []byte, n int) [][]byte {
	pieces := make([][]byte, n)
	for i := range pieces {
		pieces[i] = p[len(p)*i/n : len(p)*(i+1)/n]
	}
	return pieces
}

// A scenario is one conversation: what the client does, what it must see, and
// what the server must see at the end.
type scenario struct {
	name  string
	offer []string // subprotocols
	steps []step
	want  []event // after the first, which is open
	end   ending  // Code 0: the server is not asked
	// closer is who begins the closing handshake, "client" or "server"; what
	// this side sees at the end is the other's answer.
	closer string
}

// A part is some steps and what the client sees because of them.
type part struct {
	steps []step
	want  []event

	end    ending
	closer string
}

func talk(name string, parts ...part) scenario {
	s := scenario{name: name}
	for _, p := range parts {
		s.steps = append(s.steps, p.steps...)
		s.want = append(s.want, p.want...)
		s.end, s.closer = p.end, p.closer // the last part ends the connection
	}
	return s
}

// echo sends a message and wants it back.
func echo(op, chunk string, size int) part {
	return part{
		steps: []step{{Do: "send", Op: op, Chunk: chunk, Size: size}, {Do: "recv"}},
		want:  []event{message(op, payload(op, chunk, size))},
	}
}

func echoText(s string) part { return echo("text", s, len(s)) }

// burst sends n messages at once, so that frames arrive many in a segment, and
// then wants all of them back in order.
func burst(n int) part {
	var p part
	for i := range n {
		text := fmt.Sprintf("message %d of %d", i, n)
		p.steps = append(p.steps, step{Do: "send", Op: "text", Chunk: text, Size: len(text)})
		p.want = append(p.want, message("text", []byte(text)))
	}
	for range n {
		p.steps = append(p.steps, step{Do: "recv"})
	}
	return p
}

// fragments sends a message in pieces and wants it back.
func fragments(op, chunk string, size, pieces int, ping bool) part {
	p := echo(op, chunk, size)
	p.steps[0] = step{Do: "fragments", Op: op, Chunk: chunk, Size: size, Pieces: pieces, Ping: ping}
	return p
}

// command tells the server to do something; see serve.
func command(format string, args ...any) part {
	text := fmt.Sprintf(format, args...)
	return part{steps: []step{{Do: "send", Op: "text", Chunk: text, Size: len(text)}}}
}

// replies is a command whose effect is a message.
func replies(op string, want []byte, format string, args ...any) part {
	p := command(format, args...)
	p.steps = append(p.steps, step{Do: "recv"})
	p.want = []event{message(op, want)}
	return p
}

func serverFragments(op, chunk string, size, pieces int) part {
	return replies(op, payload(op, chunk, size), "!fragments %d %s %d %s", pieces, op, size, chunk)
}

func clientPings() part {
	return part{steps: []step{{Do: "ping"}}, want: []event{{Op: "pong"}}}
}

func serverPings() part { return replies("text", []byte("pong"), "!ping") }

func clientCloses(code int, reason string) part {
	return part{
		steps:  []step{{Do: "close", Code: code, Reason: reason}},
		want:   []event{{Op: "closed", Code: code}},
		end:    ending{Code: code, Reason: reason},
		closer: "client",
	}
}

func serverCloses(code int, reason string) part {
	p := command("!close %d %s", code, reason)
	p.steps = append(p.steps, step{Do: "closed"})
	p.want = []event{{Op: "closed", Code: code, Text: reason}}
	p.end, p.closer = ending{Code: code}, "server"
	return p
}

// serverFloods has the server send n messages and close right behind them:
// all must arrive, and then the close frame.
func serverFloods(n, size, code int) part {
	p := command("!flood %d %d %d", n, size, code)
	for range n {
		p.steps = append(p.steps, step{Do: "recv"})
		p.want = append(p.want, message("binary", payload("binary", "", size)))
	}
	p.steps = append(p.steps, step{Do: "closed"})
	p.want = append(p.want, event{Op: "closed", Code: code})
	p.end, p.closer = ending{Code: code}, "server"
	return p
}

func clientCuts() part {
	return part{steps: []step{{Do: "cut"}}, end: ending{Code: 1006}}
}

func serverCuts() part {
	p := command("!cut")
	p.steps = append(p.steps, step{Do: "closed"})
	p.want = []event{{Op: "closed", Code: 1006}}
	return p
}

// needs lists what a scenario asks of its client ("ping", "close 1001") and of
// its server ("!ping", "!close 1001") beyond sending and receiving messages. A
// peer whose API has no such thing says so in its table of lacks.
func (s scenario) needs() []string {
	var needs []string
	for _, st := range s.steps {
		switch {
		case st.Do == "close":
			needs = append(needs, fmt.Sprintf("close %d", st.Code))
		case st.Do == "fragments" && st.Ping:
			needs = append(needs, "fragments", "ping in fragments")
		case st.Do == "fragments", st.Do == "ping", st.Do == "cut":
			needs = append(needs, st.Do)
		case strings.HasPrefix(st.Chunk, "!close "):
			word := strings.Fields(st.Chunk)
			needs = append(needs, word[0]+" "+word[1])
		case strings.HasPrefix(st.Chunk, "!"):
			needs = append(needs, strings.Fields(st.Chunk)[0])
		}
	}
	return needs
}
