package websocket

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Dial connects to a server with the settings of the zero [Dialer]. See
// [Dialer.Dial].
func Dial(ctx context.Context, url string) (*Conn, *http.Response, error) {
	return new(Dialer).Dial(ctx, url)
}

// A Dialer connects to servers. The zero value is safe to use. Dial does not
// change it, so that one Dialer serves any number of goroutines; its fields
// must not change while it is in use.
type Dialer struct {
	// Client sends the opening handshake; nil means [http.DefaultClient].
	// Its proxies, TLS settings, cookies and redirects are net/http's; it is
	// not changed. A secure connection is never redirected to one that is
	// not. Its Timeout bounds the handshake, not the connection.
	//
	// A wss URL passes an HTTP proxy through a CONNECT tunnel. A ws URL is
	// handed to it as a plain request, which not every proxy upgrades.
	Client *http.Client

	// Header holds further fields of the request, as Authorization, Cookie
	// or Origin. Host replaces the host of the URL. The fields of the
	// handshake itself (Upgrade, Connection, Sec-WebSocket-*) are refused.
	Header http.Header

	// Subprotocols are offered to the server, the preferred one first. It
	// may choose one, see [Conn.Subprotocol], or none.
	Subprotocols []string

	// HandshakeTimeout bounds Dial as a whole, with name resolution, TLS,
	// proxies and redirects, beside the context. 0 means 30 s; negative: no
	// bound.
	HandshakeTimeout time.Duration

	Options
}

const (
	defaultHandshakeTimeout = 30 * time.Second
	maxRedirects            = 10   // net/http's own bound
	maxRefusal              = 1024 // bytes kept of the body of a refusal
)

// Dial connects to a server, whose URL has the scheme ws or wss (or http or
// https, which mean the same), and no fragment. A user and password in the URL
// become Basic authentication.
//
// It returns the connection and the 101 response, whose Body is empty. The end
// of ctx cuts Dial short, and means nothing to the connection afterwards.
//
// The error is a [*HandshakeError], which wraps the cause: the context's
// error, a TLS error, a network error. The response is then the one in it, nil
// if there was none, with 1024 bytes of Body at most. A TCP connection that
// was opened has been closed, or is in the Client's pool like that of any
// other HTTP response. See RFC 6455, section 4.1.
func (d *Dialer) Dial(ctx context.Context, url string) (*Conn, *http.Response, error) {
	if err := d.check(); err != nil {
		return nil, nil, &HandshakeError{Err: err}
	}
	u, err := parseURL(url)
	if err != nil {
		return nil, nil, &HandshakeError{Reason: "bad URL", Err: err}
	}
	bound, cancel := d.bound(ctx)
	defer cancel()
	c, resp, err := d.connect(ctx, bound, u)
	if err == nil {
		return c, resp, nil
	}
	he, ok := err.(*HandshakeError)
	if !ok {
		he = &HandshakeError{Err: err}
	}
	if resp != nil {
		he.Status, he.Response = resp.StatusCode, resp
	}
	return nil, resp, he
}

// check reports the caller's mistakes in d, before anything is dialled.
func (d *Dialer) check() error {
	if err := d.Options.check(); err != nil {
		return err
	}
	if _, hosts := d.header(); len(hosts) > 1 {
		return fmt.Errorf("Dialer.Header holds Host %d times, want once", len(hosts))
	}
	return checkSettings("Dialer", d.Header, d.Subprotocols)
}

// header returns a copy of Header, and apart from it what it says of the host,
// for which net/http has a place of its own.
func (d *Dialer) header() (h http.Header, hosts []string) {
	h = make(http.Header)
	for name, values := range d.Header {
		if http.CanonicalHeaderKey(name) == "Host" {
			hosts = append(hosts, values...)
		} else {
			h[name] = slices.Clone(values)
		}
	}
	return h, hosts
}

// bound returns ctx with the Dialer's and the Client's own bounds, whichever
// is nearer. The context that it returns ends with Dial.
func (d *Dialer) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := d.HandshakeTimeout
	if timeout == 0 {
		timeout = defaultHandshakeTimeout
	}
	if c := d.Client; c != nil && c.Timeout > 0 && (timeout < 0 || c.Timeout < timeout) {
		timeout = c.Timeout
	}
	if timeout < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

// parseURL returns the http or https URL for a WebSocket URL. "Fragment
// identifiers are meaningless in the context of WebSocket URIs and MUST NOT be
// used on these URIs": section 3. A space is refused since it is most often a
// mistake, and what net/url would make of it is not what was meant. The errors
// do not repeat the URL, which may hold a password.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		if strings.Contains(s, "@") {
			err = errors.New("it cannot be parsed; what is wrong is not repeated, since it may be part of a password")
		}
		return nil, err
	}
	switch {
	case strings.ContainsAny(s, "# "):
		return nil, errors.New("it holds a fragment or a space, want neither")
	case u.Hostname() == "":
		return nil, errors.New("it has no host")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, errors.New("its port is none, want 1 to 65535")
		}
	}
	u.Host = strings.TrimSuffix(u.Host, ":") // an empty port is the default one
	return u, mapScheme(u)
}

// mapScheme replaces the scheme of a WebSocket URL by that of the HTTP request
// which opens the connection, the only ones that net/http knows.
func mapScheme(u *url.URL) error {
	switch u.Scheme {
	case "ws", "http":
		u.Scheme = "http"
	case "wss", "https":
		u.Scheme = "https"
	default:
		return fmt.Errorf("scheme %s, want ws, wss, http or https", quote(u.Scheme))
	}
	return nil
}

// connect sends the handshake to u within the context bound, and makes the
// connection, which takes the values of ctx. With an error the response is
// what came, if anything did.
func (d *Dialer) connect(ctx, bound context.Context, u *url.URL) (*Conn, *http.Response, error) {
	a := &attempt{dialer: d}
	resp, err := a.client().Do(a.request(bound, u))
	if err != nil {
		if resp != nil { // a redirect that was not followed; its body is closed
			resp.Body = http.NoBody
		}
		var ue *url.Error // says again what we were asked, and a redirect's target in full
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, resp, endedBy(bound, err)
	}
	agreed, err := checkResponse(resp, a.key, d.Subprotocols, d.Compression)
	if err != nil {
		return nil, resp, a.refused(bound, resp, err)
	}
	nc, behind, err := a.takeOver(bound, resp)
	if err != nil {
		return nil, resp, endedBy(bound, err)
	}
	return newConn(ctx, nc, true, &d.Options, agreed, behind), resp, nil
}

// endedBy returns err so that it wraps the end of ctx, if that has come: what
// then happens to a connection has many names.
func endedBy(ctx context.Context, err error) error {
	if end := ctx.Err(); end != nil && !errors.Is(err, end) {
		return fmt.Errorf("%w: %w", end, err)
	}
	return err
}

// An attempt is one call of Dial, over all its redirects. Its methods run on
// Dial's goroutine, but for gotConn: a Transport may call that from any.
type attempt struct {
	dialer *Dialer
	key    string // of the last request

	mu   sync.Mutex
	conn net.Conn // that the last request was sent on
}

// request makes the opening handshake of section 4.1 for u.
func (a *attempt) request(ctx context.Context, u *url.URL) *http.Request {
	h, hosts := a.dialer.header()
	h.Set("Upgrade", "websocket")
	h.Set("Connection", "Upgrade")
	h.Set("Sec-WebSocket-Version", "13")
	if s := a.dialer.Subprotocols; len(s) > 0 {
		h.Set("Sec-WebSocket-Protocol", strings.Join(s, ", "))
	}
	if offers := a.dialer.Compression.offers(); len(offers) > 0 {
		h.Set("Sec-WebSocket-Extensions", formatOffers(offers))
	}
	a.setKey(h)
	req := &http.Request{
		Method: http.MethodGet, URL: u, Header: h, Host: strings.Join(hosts, ""),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	return req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: a.gotConn}))
}

// setKey puts a fresh key into h. "The nonce MUST be selected randomly for
// each connection": section 4.1, item 7.
func (a *attempt) setKey(h http.Header) {
	var nonce [16]byte
	rand.Read(nonce[:]) // never fails
	a.key = base64.StdEncoding.EncodeToString(nonce[:])
	h.Set("Sec-WebSocket-Key", a.key)
}

// gotConn notes the connection that a request is about to be sent on. There is
// one call for each redirect, and for each idle connection of the Client's that
// turned out to be dead; the last one carries the response that net/http
// returns. The body of a 101 response can be read and written, but it has no
// deadlines and no addresses: those are why the connection is wanted.
func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conn = info.Conn
}

// lastConn returns the connection under the response, or nil.
func (a *attempt) lastConn() net.Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conn
}

// client returns a copy of the Dialer's Client, made fit for the handshake. A
// Timeout would end the connection with it: [Dialer.bound] sees to that.
func (a *attempt) client() *http.Client {
	c := *http.DefaultClient
	if a.dialer.Client != nil {
		c = *a.dialer.Client
	}
	follow := c.CheckRedirect
	if follow == nil {
		follow = stopRedirects
	}
	c.Timeout = 0
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		return a.redirect(follow, req, via)
	}
	return &c
}

// stopRedirects is what net/http does for a nil CheckRedirect.
func stopRedirects(_ *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	return nil
}

// redirect prepares req, which follows the requests in via, or refuses it.
// net/http has taken Authorization and Cookie off it if it leads to another
// host. follow is the Client's own rule; it sees the URL as net/http will.
func (a *attempt) redirect(follow func(*http.Request, []*http.Request) error, req *http.Request, via []*http.Request) error {
	if err := mapScheme(req.URL); err != nil {
		return fmt.Errorf("redirect: %w", err)
	}
	if err := follow(req, via); err != nil {
		return err
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return errors.New("redirect from a secure connection to one that is not")
	}
	if via[0].Header.Get("Referer") == "" {
		req.Header.Del("Referer") // net/http's; the URL may hold a secret, and browsers send none
	}
	a.setKey(req.Header)
	return nil
}

// checkResponse applies the rules of section 4.1 for the server's response and
// returns what it agrees to. Whatever the server breaks,
// "the client MUST _Fail the WebSocket Connection_". Fields that say the same
// twice are refused, too: sections 11.3.2 to 11.3.4 forbid it for their own,
// and a response that somebody has spliced together is not to be trusted.
func checkResponse(resp *http.Response, key string, subprotocols []string, compression *Compression) (agreement, error) {
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return agreement{}, refuse(resp.StatusCode, "response %s, want 101 Switching Protocols", quote(resp.Status))
	}
	h := resp.Header
	upgrade, accept := h.Values("Upgrade"), h.Values("Sec-WebSocket-Accept")
	chosen := h.Values("Sec-WebSocket-Protocol")
	broken := ""
	switch {
	case !resp.ProtoAtLeast(1, 1):
		broken = "response in HTTP/1.0, want HTTP/1.1"
	case len(upgrade) != 1 || lower(upgrade[0]) != "websocket":
		broken = fieldError("Upgrade", upgrade, "websocket once")
	case countToken(h.Values("Connection"), "upgrade") != 1:
		broken = fieldError("Connection", h.Values("Connection"), "the token Upgrade in it once")
	case len(accept) != 1 || accept[0] != AcceptKey(key):
		broken = fieldError("Sec-WebSocket-Accept", accept, AcceptKey(key)+" once")
	case len(chosen) > 1 || len(chosen) == 1 && !slices.Contains(subprotocols, chosen[0]):
		broken = fieldError("Sec-WebSocket-Protocol", chosen, fmt.Sprintf("one of %q at most", subprotocols))
	}
	if broken != "" {
		return agreement{}, refuse(resp.StatusCode, "%s", broken)
	}
	lines := h.Values("Sec-WebSocket-Extensions")
	extensions, err := parseExtensions(lines)
	if err != nil {
		return agreement{}, refuse(resp.StatusCode, "%v", err)
	}
	agreed, err := compression.agree(extensions)
	if err != nil {
		return agreement{}, refuse(resp.StatusCode, "%s", fieldError("Sec-WebSocket-Extensions", lines, err.Error()))
	}
	return agreement{subprotocol: strings.Join(chosen, ""), compression: agreed}, nil
}

// fieldError says what the lines of a field are and what they should be.
func fieldError(field string, lines []string, want string) string {
	return fmt.Sprintf("%s: %s in %d lines, want %s", field, quote(strings.Join(lines, ", ")), len(lines), want)
}

// refused lets go of a connection whose response was refused with err, after
// it has read the start of the body, and completes err. The body comes from
// net/http, and ends with ctx.
func (a *attempt) refused(ctx context.Context, resp *http.Response, err error) error {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		a.discard(resp) // what follows is no body
		return err
	}
	b, readErr := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(b))
	he := err.(*HandshakeError)
	if len(b) > 0 {
		he.Reason += ", with body " + quote(string(b))
	}
	if readErr != nil {
		he.Err = endedBy(ctx, readErr)
	}
	return he
}

// discard closes the connection under a 101 response.
func (a *attempt) discard(resp *http.Response) {
	resp.Body.Close()
	resp.Body = http.NoBody
	if nc := a.lastConn(); nc != nil {
		nc.Close()
	}
}

// takeOver returns the connection under a 101 response, with the bytes that
// came behind it. net/http has no further part in it then: its goroutines have
// ended, and ctx means nothing to it. The end of ctx closes a connection whose
// deadlines do not work, as a Transport's own Dial function may return.
func (a *attempt) takeOver(ctx context.Context, resp *http.Response) (net.Conn, []byte, error) {
	nc, body := a.lastConn(), resp.Body
	if _, ok := body.(io.Writer); !ok || nc == nil {
		a.discard(resp)
		return nil, nil, &HandshakeError{Reason: fmt.Sprintf("no connection to be had from under a response of Client.Transport: "+
			"httptrace's GotConn reported %T, and the body is a %T, want a net.Conn and an io.Writer", nc, body)}
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	behind, err := buffered(nc, body)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		a.discard(resp)
		return nil, nil, err
	}
	resp.Body = http.NoBody
	return nc, behind, nil
}

// buffered returns the bytes that net/http has read behind the response: those
// that body returns while nothing can be read from nc below it, since its
// deadline is over. There are at most Transport.ReadBufferSize of them, and a
// record of TLS. A stream that has ended is no error yet: its reader will see.
// It leaves nc without deadlines.
func buffered(nc net.Conn, body io.Reader) ([]byte, error) {
	if err := nc.SetReadDeadline(aLongTimeAgo); err != nil {
		return nil, err
	}
	var behind bytes.Buffer
	if _, err := behind.ReadFrom(body); err != nil && !isTimeout(err) {
		return nil, err
	}
	return behind.Bytes(), nc.SetDeadline(time.Time{})
}
