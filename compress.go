package websocket

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Compression are the settings of permessage-deflate (RFC 7692), which
// compresses messages one by one. The zero value suits streams of small JSON
// messages: with context takeover, and windows of 4 KiB, it holds 17 KiB for a
// connection that has both sent and received compressed messages. Without
// takeover a connection holds nothing between messages.
//
// Both sides have a say. A server that does not know the extension, or cannot
// keep within what is set here, leaves it out, and messages go uncompressed;
// so it is with a client. [Conn.Compression] tells what was agreed.
//
// What an attacker can mix with a secret into one stream, as on a page that
// echoes its input beside a token, must not be compressed: the length of what
// is sent then tells him the secret. See the CRIME attack, and RFC 7692,
// section 8.
type Compression struct {
	// Threshold is how many bytes a message must have to be compressed.
	// Shorter ones, and those that do not shrink, are sent as they are.
	// 0 means 32 with takeover and 256 without; 1: all. (JSON and chat of
	// these sizes shrank to 48-66 %, and to 52-59 % without takeover, where
	// 128 bytes shrank to 64-86 %.) What a [MessageWriter] sends in several
	// fragments, whose size is not known before, is compressed in any case.
	Threshold int

	// Thorough makes the search for repeats in messages of more than 4 KiB as
	// thorough as in smaller ones: JSON of 16 KiB comes out a ninth shorter,
	// for half as much time again. What is [Prepare]d is always searched so.
	Thorough bool

	// NoWriteTakeover makes every message we send stand for itself: it does
	// not refer to those before it. Small messages then shrink little, and
	// nothing is held between them. NoReadTakeover asks the same of the peer,
	// which must obey.
	NoWriteTakeover, NoReadTakeover bool

	// WriteWindowBits and ReadWindowBits are the base-2 logarithms of how
	// many bytes back a message may refer, 8 to 15. 0 means 12; for writing
	// without takeover it means 15. The peer may ask for less, and is obeyed.
	//
	// With takeover, writing holds 1.3 KiB for 8 bits, 12.5 KiB for 12 and 68
	// KiB for 15: 8 KiB and twice the window at most. Reading holds the window
	// and an eighth of it: 0.3, 4.5 and 36 KiB. A peer that cannot bound its window
	// to ReadWindowBits is asked for NoReadTakeover instead, so that what is
	// held is bounded in any case. Without takeover ReadWindowBits means
	// nothing.
	WriteWindowBits, ReadWindowBits int
}

const (
	minWindowBits     = 8
	maxWindowBits     = 15
	defaultWindowBits = 12

	defaultThreshold           = 256
	defaultThresholdOfTakeover = 32
)

// check reports settings that cannot be honoured.
func (o *Compression) check() error {
	if o == nil {
		return nil
	}
	for _, bits := range [...]int{o.WriteWindowBits, o.ReadWindowBits} {
		if bits != 0 && (bits < minWindowBits || bits > maxWindowBits) {
			return fmt.Errorf("websocket: Options.Compression has a window of %d bits, want %d to %d, or 0 for the default",
				bits, minWindowBits, maxWindowBits)
		}
	}
	return nil
}

// withDefaults returns the settings in force: only Threshold's sign is left to
// interpretation.
func (o Compression) withDefaults() Compression {
	if o.WriteWindowBits == 0 {
		o.WriteWindowBits = defaultWindowBits
		if o.NoWriteTakeover {
			o.WriteWindowBits = maxWindowBits
		}
	}
	if o.ReadWindowBits == 0 {
		o.ReadWindowBits = defaultWindowBits
	}
	if o.NoReadTakeover {
		o.ReadWindowBits = maxWindowBits
	}
	if o.Threshold == 0 {
		o.Threshold = defaultThresholdOfTakeover
		if o.NoWriteTakeover {
			o.Threshold = defaultThreshold
		}
	}
	return o
}

// The name of the extension and of its parameters. See RFC 7692, section 7.1.
const (
	permessageDeflate = "permessage-deflate"
	serverNoTakeover  = "server_no_context_takeover"
	clientNoTakeover  = "client_no_context_takeover"
	serverWindowBits  = "server_max_window_bits"
	clientWindowBits  = "client_max_window_bits"
)

// deflateParams are the parameters of an offer or an answer.
type deflateParams struct {
	serverNoTakeover, clientNoTakeover bool
	serverBits, clientBits             int // 0: no such parameter; anyBits: one without a value
}

// anyBits is what a client offers that leaves its window to the server.
const anyBits = -1

// parse reads the parameters of e, an element with the name permessage-deflate.
// An offer or an answer is bad if it "contains an extension parameter not
// defined for use", "with an invalid value", or "multiple extension parameters
// with the same name": RFC 7692, section 7.1.
func (p *deflateParams) parse(e extension) error {
	for i, param := range e.params {
		if slices.ContainsFunc(e.params[:i], func(x extensionParam) bool { return x.name == param.name }) {
			return fmt.Errorf("%s has %s twice", permessageDeflate, param.name)
		}
		var ok bool
		switch param.name {
		case serverNoTakeover:
			p.serverNoTakeover, ok = true, param.value == ""
		case clientNoTakeover:
			p.clientNoTakeover, ok = true, param.value == ""
		case serverWindowBits:
			p.serverBits, ok = parseWindowBits(param.value)
		case clientWindowBits:
			p.clientBits, ok = parseWindowBits(param.value)
			if param.value == "" {
				p.clientBits, ok = anyBits, true
			}
		default:
			return fmt.Errorf("%s has the unknown parameter %s", permessageDeflate, quote(param.name))
		}
		if !ok {
			return fmt.Errorf("%s has the value %s for %s", permessageDeflate, quote(param.value), param.name)
		}
	}
	return nil
}

// parseWindowBits reads "a decimal integer value without leading zeroes
// between 8 to 15, inclusive": RFC 7692, section 7.1.2.
func parseWindowBits(s string) (int, bool) {
	n, _ := strconv.Atoi(s)
	return n, s == strconv.Itoa(n) && n >= minWindowBits && n <= maxWindowBits
}

// String returns the element of Sec-WebSocket-Extensions.
func (p deflateParams) String() string {
	s := permessageDeflate
	for _, flag := range [...]struct {
		name string
		set  bool
	}{{serverNoTakeover, p.serverNoTakeover}, {clientNoTakeover, p.clientNoTakeover}} {
		if flag.set {
			s += "; " + flag.name
		}
	}
	for _, bits := range [...]struct {
		name string
		n    int
	}{{serverWindowBits, p.serverBits}, {clientWindowBits, p.clientBits}} {
		switch bits.n {
		case 0:
		case anyBits:
			s += "; " + bits.name
		default:
			s += "; " + bits.name + "=" + strconv.Itoa(bits.n)
		}
	}
	return s
}

// formatOffers returns the offers of a client as an extension-list.
func formatOffers(offers []deflateParams) string {
	list := make([]string, len(offers))
	for i, p := range offers {
		list[i] = p.String()
	}
	return strings.Join(list, ", ")
}

// accept chooses, as a server with the settings o, the first of the offers
// that can be met, and returns what is agreed and the answer that says so; nil
// and "" if there is none, or o is nil.
func (o *Compression) accept(offers []extension) (agreed *Compression, answer string) {
	if o == nil {
		return nil, ""
	}
	for _, e := range offers {
		var offer deflateParams
		if e.name != permessageDeflate || offer.parse(e) != nil {
			continue // "MUST decline"; another offer may be better
		}
		agreed, answer := o.meet(offer)
		return agreed, answer.String()
	}
	return nil, ""
}

// meet agrees to an offer of a client. Every offer can be met: a window that
// it bounds is one we can keep to, and context takeover we need not use.
func (o *Compression) meet(offer deflateParams) (*Compression, deflateParams) {
	a := *o
	a.NoWriteTakeover = a.NoWriteTakeover || offer.serverNoTakeover
	a.NoReadTakeover = a.NoReadTakeover || offer.clientNoTakeover
	// "If a received extension negotiation offer doesn't have the
	// client_max_window_bits extension parameter, the corresponding extension
	// negotiation response to the offer MUST NOT include" it.
	if offer.clientBits == 0 && o.withDefaults().ReadWindowBits < maxWindowBits {
		a.NoReadTakeover = true
	}
	a = a.withDefaults()
	answer := deflateParams{serverNoTakeover: a.NoWriteTakeover, clientNoTakeover: a.NoReadTakeover}
	if offer.serverBits != 0 {
		a.WriteWindowBits = min(a.WriteWindowBits, offer.serverBits)
		answer.serverBits = a.WriteWindowBits
	}
	if offer.clientBits > 0 {
		a.ReadWindowBits = min(a.ReadWindowBits, offer.clientBits)
	}
	if a.ReadWindowBits < maxWindowBits { // not, if the client cannot bound it
		answer.clientBits = a.ReadWindowBits
	}
	return &a, answer
}

// offers returns what a client with the settings o offers, the best first. A
// server that cannot bound its window as the first asks may do without context
// takeover. Our own window is left to the server, as browsers do: its size
// would be a hint, but there are servers that refuse a handshake with one.
func (o *Compression) offers() []deflateParams {
	if o == nil {
		return nil
	}
	a := o.withDefaults()
	offer := deflateParams{
		serverNoTakeover: a.NoReadTakeover,
		clientNoTakeover: a.NoWriteTakeover,
		clientBits:       anyBits,
	}
	if a.ReadWindowBits == maxWindowBits {
		return []deflateParams{offer}
	}
	second := offer
	offer.serverBits = a.ReadWindowBits
	second.serverNoTakeover = true
	return []deflateParams{offer, second}
}

// agree checks, as a client with the settings o, a server's answer to its
// offers, and returns what it agrees to: nil if the server wants no extension.
// An answer that no offer allows fails the connection: RFC 7692, section 7.1.
// The error says what was wanted.
func (o *Compression) agree(answer []extension) (*Compression, error) {
	if len(answer) == 0 {
		return nil, nil
	}
	if o == nil || len(answer) > 1 || answer[0].name != permessageDeflate {
		return nil, errors.New("no extension but those that were offered, each once")
	}
	var p deflateParams
	if err := p.parse(answer[0]); err != nil {
		return nil, fmt.Errorf("parameters by RFC 7692, section 7.1: %w", err)
	}
	return o.confirm(p)
}

// confirm is agree for an answer that is well-formed.
func (o *Compression) confirm(p deflateParams) (*Compression, error) {
	offered, a := o.withDefaults(), *o
	a.NoWriteTakeover = a.NoWriteTakeover || p.clientNoTakeover
	a = a.withDefaults()
	a.NoReadTakeover = p.serverNoTakeover
	a.ReadWindowBits, a.WriteWindowBits = maxWindowBits, offered.WriteWindowBits
	if p.serverBits != 0 {
		a.ReadWindowBits = p.serverBits
	}
	if p.clientBits > 0 {
		a.WriteWindowBits = min(a.WriteWindowBits, p.clientBits)
	}
	switch {
	case p.clientBits == anyBits:
		return nil, fmt.Errorf("a value for %s", clientWindowBits)
	case !a.NoReadTakeover && o.NoReadTakeover:
		return nil, fmt.Errorf("%s, which every offer had", serverNoTakeover)
	case !a.NoReadTakeover && a.ReadWindowBits > offered.ReadWindowBits:
		return nil, fmt.Errorf("%s of %d at most, or %s, as in the offers", serverWindowBits, offered.ReadWindowBits, serverNoTakeover)
	}
	return &a, nil
}

// negotiate is a handshake between a server with the settings o and a client.
func (o *Compression) negotiate(client *Compression) (atServer, atClient *Compression) {
	if o == nil || client == nil {
		return nil, nil
	}
	atServer, answer := o.meet(client.offers()[0])
	atClient, err := client.confirm(answer)
	if err != nil {
		panic("websocket: internal error: an answer of our own is refused: " + err.Error())
	}
	return atServer, atClient
}

// Compression returns what was agreed on in the opening handshake, seen from
// this side and with no field left to a default, or nil if messages go
// uncompressed. ReadWindowBits is what the peer may use.
func (c *Conn) Compression() *Compression {
	if c.compression == nil {
		return nil
	}
	agreed := *c.compression
	return &agreed
}
