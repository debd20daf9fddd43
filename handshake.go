package websocket

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Upgrade answers the opening handshake in r and returns the connection, with
// the settings of the zero [Upgrader]: pages of the same origin only, no
// subprotocol, and the default [Options]. See [Upgrader.Upgrade] for what it
// returns and when.
func Upgrade(w http.ResponseWriter, r *http.Request) (*Conn, error) {
	return new(Upgrader).Upgrade(w, r)
}

// An Upgrader turns HTTP requests into WebSocket connections. The zero value
// is safe to use. Upgrade does not change it, so that one Upgrader serves any
// number of goroutines; its fields must not change while it is in use.
type Upgrader struct {
	// Origins lists further origins whose pages may connect, beside the one
	// that the request was sent to: "https://app.example", with a port if it
	// is not the scheme's default, or "https://*.example", where the asterisk
	// stands for exactly one label. Case does not matter. Other schemes
	// ("capacitor://localhost") and "null" must be listed as the browser
	// sends them; "null" admits any sandboxed frame and local file.
	//
	// Without this check every web page could connect with the cookies of
	// whoever looks at it. See RFC 6455, section 10.2.
	Origins []string

	// CheckOrigin, if set, decides in place of the rule above. It is also
	// asked when there is no Origin, as from a client that is not a browser.
	// One that returns true always lets every web page in.
	CheckOrigin func(*http.Request) bool

	// Subprotocols are the subprotocols spoken here, the preferred one first.
	// The first that the client offers is chosen. If it offers none of them
	// the connection has no subprotocol ([Conn.Subprotocol] is ""), and a
	// browser that offered some ends it. See RFC 6455, section 1.9.
	Subprotocols []string

	// Header holds further fields of the 101 response, for every request.
	// What is to differ by request, such as a Set-Cookie, belongs into
	// w.Header() before Upgrade is called. The fields of the handshake
	// itself (Upgrade, Connection, Sec-WebSocket-*) are not for either.
	Header http.Header

	Options
}

// Upgrade answers the opening handshake in r and returns the connection. The
// 101 response carries what w.Header() holds and then u.Header.
//
// The error is a [*HandshakeError]; the response has then been written, and
// the handler has nothing left to do but return. After success w and r.Body
// must not be used any more, and r.Context() ends with the handler: take
// [Conn.Context]. The handler may return while the connection lives on.
//
// It works over HTTP/1.1, with any ResponseWriter that [http.NewResponseController]
// can hijack. Bytes that came behind the request are not lost. A request with
// a body is refused, and its body is never taken for frames. See RFC 6455,
// section 4.2.
func (u *Upgrader) Upgrade(w http.ResponseWriter, r *http.Request) (*Conn, error) {
	reply, agreed, err := u.accept(w.Header(), r)
	if err != nil {
		return nil, answer(w, r, err)
	}
	nc, behind, err := hijack(w)
	if err != nil {
		return nil, answer(w, r, err)
	}
	o := u.withDefaults()
	if err := writeReply(nc, reply, o.WriteTimeout); err != nil {
		nc.Close()
		return nil, &HandshakeError{Reason: "the 101 response could not be written", Err: err}
	}
	return newConn(r.Context(), nc, false, &o, agreed, behind), nil
}

// accept applies the rules of RFC 6455, section 4.2.1, to r and returns the
// 101 response and what it agrees to. It writes nothing. If the client
// breaks a rule, "the server MUST stop processing the client's handshake and
// return an HTTP response with an appropriate error code". The order is that
// of how much the request has to do with WebSocket: what a browser or a load
// balancer asks by mistake is told so before anything finer.
func (u *Upgrader) accept(w http.Header, r *http.Request) (reply []byte, a agreement, err error) {
	if err := u.check(); err != nil {
		return nil, a, &HandshakeError{Status: http.StatusInternalServerError, Err: err}
	}
	rules := []func(*http.Request) error{
		checkMethod, checkBody, checkUpgrade, checkVersion, checkKey, u.checkOrigin,
	}
	for _, rule := range rules {
		if err := rule(r); err != nil {
			return nil, a, err
		}
	}
	subprotocols, err := parseSubprotocols(r.Header.Values("Sec-WebSocket-Protocol"))
	if err != nil {
		return nil, a, refuse(http.StatusBadRequest, "%v", err)
	}
	extensions, err := parseExtensions(r.Header.Values("Sec-WebSocket-Extensions"))
	if err != nil {
		return nil, a, refuse(http.StatusBadRequest, "%v", err)
	}
	a.subprotocol = chooseSubprotocol(u.Subprotocols, subprotocols)
	var extension string
	a.compression, extension = u.Compression.accept(extensions)
	reply, err = appendReply(nil, r.Header.Get("Sec-WebSocket-Key"), a.subprotocol, extension, w, u.Header)
	if err != nil {
		return nil, a, &HandshakeError{Status: http.StatusInternalServerError, Err: err}
	}
	return reply, a, nil
}

// check reports the developer's mistakes in u, whatever the request.
func (u *Upgrader) check() error {
	if err := u.Options.check(); err != nil {
		return err
	}
	return checkSettings("Upgrader", u.Header, u.Subprotocols)
}

// checkSettings reports what may not stand in the Header and the Subprotocols
// of an Upgrader or a Dialer: whatever would end a line early, or contradict
// what the handshake itself says.
func checkSettings(owner string, h http.Header, subprotocols []string) error {
	for i, s := range subprotocols {
		if !isToken(s) {
			return fmt.Errorf("%s.Subprotocols holds %s, which is not a token", owner, quote(s))
		}
		if slices.Contains(subprotocols[:i], s) {
			return fmt.Errorf("%s.Subprotocols holds %s twice", owner, quote(s))
		}
	}
	for name, values := range h {
		if isHandshakeField(name) {
			return fmt.Errorf("%s.Header holds %s, which the handshake sets", owner, quote(name))
		}
		if err := checkField(name, values); err != nil {
			return fmt.Errorf("%s.Header: %w", owner, err)
		}
	}
	return nil
}

// checkMethod admits "an HTTP/1.1 or higher GET request": section 4.2.1, item
// 1. Higher means another minor version: HTTP/2 has no Upgrade, and its own way
// to open a WebSocket.
func checkMethod(r *http.Request) error {
	switch {
	case r.ProtoMajor >= 2:
		return refuse(http.StatusBadRequest, "the request came over HTTP/%d, where a WebSocket needs RFC 8441, "+
			"which is not supported here: use HTTP/1.1", r.ProtoMajor)
	case r.Method != http.MethodGet:
		return refuse(http.StatusMethodNotAllowed, "method %s, want GET", quote(r.Method))
	case !r.ProtoAtLeast(1, 1):
		return refuse(http.StatusHTTPVersionNotSupported, "HTTP/%d.%d, want HTTP/1.1", r.ProtoMajor, r.ProtoMinor)
	}
	return nil
}

// checkBody refuses a request with a body. Its bytes, which may come late,
// would otherwise be read as frames: a way to smuggle them past a proxy that
// takes them for what they are declared to be. The RFC says nothing of bodies,
// and no client of WebSocket sends one.
func checkBody(r *http.Request) error {
	if r.ContentLength != 0 || len(r.TransferEncoding) != 0 {
		return refuse(http.StatusBadRequest, "the request has a body, want none")
	}
	return nil
}

// checkUpgrade wants the two lists that ask for the upgrade: "an |Upgrade|
// header field containing the value "websocket", treated as an ASCII
// case-insensitive value" and "a |Connection| header field that includes the
// token "Upgrade"": section 4.2.1, items 3 and 4. Both may name more, and may
// be split over several lines.
func checkUpgrade(r *http.Request) error {
	for _, want := range [...]struct{ field, token string }{{"Upgrade", "websocket"}, {"Connection", "upgrade"}} {
		lines := r.Header.Values(want.field)
		if countToken(lines, want.token) == 0 {
			return refuse(http.StatusUpgradeRequired, "%s: %s, want the token %q in it",
				want.field, quote(strings.Join(lines, ", ")), want.token)
		}
	}
	return nil
}

// checkVersion wants version 13, in the one form that the ABNF of section 4.3
// has for it. The field "MUST NOT appear more than once in an HTTP request":
// section 11.3.5. The response tells the version that would have done.
func checkVersion(r *http.Request) error {
	v := r.Header.Values("Sec-WebSocket-Version")
	if len(v) != 1 || v[0] != "13" {
		return refuse(http.StatusUpgradeRequired, "Sec-WebSocket-Version: %s in %d lines, want 13 in one",
			quote(strings.Join(v, ", ")), len(v))
	}
	return nil
}

// checkKey wants "a base64-encoded (see Section 4 of [RFC4648]) value that,
// when decoded, is 16 bytes in length", once: sections 4.2.1, item 5, and
// 11.3.1. The four bits that base64 leaves over need not be 0, since they are
// not in the RFC's own example, "AQIDBAUGBwgJCgsMDQ4PEC==".
func checkKey(r *http.Request) error {
	v := r.Header.Values("Sec-WebSocket-Key")
	if len(v) != 1 {
		return refuse(http.StatusBadRequest, "%d Sec-WebSocket-Key lines, want 1", len(v))
	}
	const encoded = 24
	if b, err := base64.StdEncoding.DecodeString(v[0]); err != nil || len(b) != 16 || len(v[0]) != encoded {
		return refuse(http.StatusBadRequest, "Sec-WebSocket-Key: %s, want 16 bytes in base64", quote(v[0]))
	}
	return nil
}

// acceptGUID is what the key is hashed with. See RFC 6455, section 1.3.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// AcceptKey returns the Sec-WebSocket-Accept value that answers the given
// Sec-WebSocket-Key value. This is a low-level function that most users do not
// need. See RFC 6455, section 4.2.2, item 5.4.
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + acceptGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// parseSubprotocols returns the subprotocols that a client offers, over all
// lines of the field. "The elements that comprise this value MUST be non-empty
// strings … and MUST all be unique": section 4.1, item 10.
func parseSubprotocols(lines []string) ([]string, error) {
	var offers []string
	for _, line := range lines {
		for s := range strings.SplitSeq(line, ",") {
			s = strings.Trim(s, " \t")
			switch {
			case !isToken(s):
				return nil, fmt.Errorf("Sec-WebSocket-Protocol: %s is not a token", quote(s))
			case slices.Contains(offers, s):
				return nil, fmt.Errorf("Sec-WebSocket-Protocol: %s twice, want it once", quote(s))
			case len(offers) == maxElements:
				return nil, fmt.Errorf("Sec-WebSocket-Protocol: more than %d elements", maxElements)
			}
			offers = append(offers, s)
		}
	}
	return offers, nil
}

// chooseSubprotocol returns the first of ours that is among the offers, or "":
// "if the server does not agree to any of the client's requested subprotocols,
// the only acceptable value is null". Case counts. The RFC lets the server
// choose by any rule; the server's order is the one that it can rely on.
func chooseSubprotocol(ours, offers []string) string {
	for _, s := range ours {
		if slices.Contains(offers, s) {
			return s
		}
	}
	return ""
}

// appendReply appends the 101 response of section 4.2.2 to b: what the
// handshake demands, then the fields of w, which middleware may have filled
// for any response, and of more.
func appendReply(b []byte, key, subprotocol, extension string, w, more http.Header) ([]byte, error) {
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"...)
	b = appendField(b, "Sec-WebSocket-Accept", AcceptKey(key))
	if subprotocol != "" {
		b = appendField(b, "Sec-WebSocket-Protocol", subprotocol)
	}
	if extension != "" {
		b = appendField(b, "Sec-WebSocket-Extensions", extension)
	}
	for _, h := range [...]http.Header{w, more} {
		for _, name := range slices.Sorted(maps.Keys(h)) {
			if isHandshakeField(name) {
				continue
			}
			if err := checkField(name, h[name]); err != nil {
				return nil, err
			}
			for _, v := range h[name] {
				b = appendField(b, name, v)
			}
		}
	}
	return append(b, "\r\n"...), nil
}

// appendField appends a header line to b. checkField has seen name and value.
func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// isHandshakeField reports whether the opening handshake owns the field, in
// any case. A 101 response has no body, and so no field that describes one.
func isHandshakeField(name string) bool {
	switch name = http.CanonicalHeaderKey(name); name {
	case "Upgrade", "Connection", "Content-Length", "Transfer-Encoding":
		return true
	}
	return strings.HasPrefix(name, "Sec-Websocket-")
}

// checkField refuses what would end a header line early, or is no field by
// RFC 9110, section 5: it is all that stands between a value that came from
// somebody else and a forged response. Bytes above ASCII may pass.
func checkField(name string, values []string) error {
	if !isToken(name) {
		return fmt.Errorf("field name %s is not a token", quote(name))
	}
	for _, v := range values {
		for i := range len(v) {
			if c := v[i]; c < ' ' && c != '\t' || c == 0x7F {
				return fmt.Errorf("value of field %s holds the control byte %#02x", quote(name), c)
			}
		}
	}
	return nil
}

// hijack takes the connection from under w, with the bytes that came behind
// the request: a client that is in a hurry sends frames before it has seen the
// response, and http.Server has read them into its buffer. On error nothing
// has been written, so that w can still answer.
func hijack(w http.ResponseWriter) (net.Conn, []byte, error) {
	nc, rw, err := http.NewResponseController(w).Hijack()
	if errors.Is(err, http.ErrHijacked) { // there is nobody left to answer
		return nil, nil, &HandshakeError{Reason: "the connection is in other hands already", Err: err}
	}
	if err != nil {
		return nil, nil, &HandshakeError{
			Status: http.StatusInternalServerError,
			Reason: fmt.Sprintf("%T cannot give up its connection, want a ResponseWriter with Hijack, or Unwrap to one", innermost(w)),
			Err:    err,
		}
	}
	var behind []byte
	if rw != nil {
		behind, _ = rw.Reader.Peek(rw.Reader.Buffered())
	}
	return nc, behind, nil
}

// innermost returns the writer at which the search for a Hijack method ends,
// by the rule of [http.ResponseController]. It is the one to be mended.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		if _, ok := w.(interface {
			Hijack() (net.Conn, *bufio.ReadWriter, error)
		}); ok {
			return w
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = u.Unwrap()
	}
}

// writeReply sends b in one Write within the timeout, if that is not negative.
// It leaves nc without deadlines, whatever the server had set.
func writeReply(nc net.Conn, b []byte, timeout time.Duration) error {
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if timeout > 0 {
		if err := nc.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
	}
	if _, err := nc.Write(b); err != nil {
		return err
	}
	return nc.SetWriteDeadline(time.Time{})
}

// answer writes the HTTP response for err, which is a *HandshakeError, and
// returns it. What is wrong with the server is told to the caller only.
func answer(w http.ResponseWriter, r *http.Request, err error) error {
	he := err.(*HandshakeError)
	h := w.Header()
	switch he.Status {
	case 0:
		return he
	case http.StatusBadRequest:
		// We may not agree with the peer on where its request ends. HTTP/2
		// has its own framing, and no Connection field.
		if r.ProtoMajor < 2 {
			h.Set("Connection", "close")
		}
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodGet)
	case http.StatusUpgradeRequired:
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade")
		if r.Close { // else net/http would replace the field
			h.Set("Connection", "Upgrade, close")
		}
		h.Set("Sec-WebSocket-Version", "13")
	}
	body := he.Reason
	if he.Status == http.StatusInternalServerError {
		body = http.StatusText(he.Status)
	}
	http.Error(w, body, he.Status)
	return he
}

// A HandshakeError says why there is no connection. A server has written the
// response when it gets one.
type HandshakeError struct {
	// Status is the HTTP status that was sent (by a server) or received (by a
	// client); 0 if none was.
	Status int

	// Reason says what was expected and what came. It may be empty if Err
	// says it all.
	Reason string

	// Response is what a client received, or nil. Its Body holds the first
	// 1024 bytes at most, is never nil and need not be closed.
	Response *http.Response

	// Err is the cause, if there is one: of the network, of TLS, of the
	// context that ended.
	Err error
}

// Error describes the failure in one line; what the peer wrote is quoted and
// cut.
func (e *HandshakeError) Error() string {
	s := "websocket: handshake failed"
	switch {
	case e.Status >= 200:
		s = fmt.Sprintf("websocket: handshake refused (%d)", e.Status)
	case e.Status != 0:
		s = fmt.Sprintf("websocket: handshake failed (%d)", e.Status)
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	if e.Err != nil {
		s += ": " + causeText(e.Err)
	}
	return s
}

// Unwrap returns the cause, or nil.
func (e *HandshakeError) Unwrap() error { return e.Err }

// causeText makes the text of err fit for one line: net/http and crypto/tls
// put what the peer sent into some of theirs, at any length. 512 bytes hold
// any that is of use.
func causeText(err error) string {
	const most = 512
	s := strings.TrimPrefix(err.Error(), "websocket: ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return '?'
		}
		return r
	}, s)
}

// refuse makes the error of a server that answers with the status.
func refuse(status int, format string, args ...any) error {
	return &HandshakeError{Status: status, Reason: fmt.Sprintf(format, args...)}
}
