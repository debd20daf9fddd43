package peers

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/lxzan/gws"
)

func TestGWS(t *testing.T) {
	const (
		noEmptyClose = "gws.Conn.WriteClose makes 1000 of any code below"
		noPing       = "gws.Conn.WriteFile holds the write lock for the whole message"
	)
	goPeer{
		accept:      gwsAccept,
		dial:        gwsDial,
		clientLacks: map[string]string{"close 1005": noEmptyClose, "ping in fragments": noPing},
		serverLacks: map[string]string{"!close 1005": noEmptyClose},
		// It answers every registered code with 1000.
		answers: map[int]int{1001: 1000, 1011: 1000},
	}.run(t)
}

func gwsAccept(w http.ResponseWriter, r *http.Request) (conn, error) {
	return gwsUpgrade(w, r, gws.PermessageDeflate{})
}

func gwsUpgrade(w http.ResponseWriter, r *http.Request, deflate gws.PermessageDeflate) (conn, error) {
	h := newGWS(context.Background())
	o := &gws.ServerOption{CheckUtf8Enabled: true, PermessageDeflate: deflate}
	// With SubProtocols set, gws refuses clients that do not offer any.
	if r.Header.Get("Sec-WebSocket-Protocol") != "" {
		o.SubProtocols = []string{subprotocol}
	}
	c, err := gws.NewUpgrader(h, o).Upgrade(w, r)
	return h.begin(c, err)
}

func gwsDial(ctx context.Context, url string, offer []string) (conn, error) {
	return gwsConnect(ctx, url, offer, gws.PermessageDeflate{Enabled: true})
}

func gwsConnect(ctx context.Context, url string, offer []string, deflate gws.PermessageDeflate) (conn, error) {
	h := newGWS(ctx)
	o := &gws.ClientOption{
		Addr:              url,
		CheckUtf8Enabled:  true,
		RequestHeader:     http.Header{},
		PermessageDeflate: deflate,
	}
	if offer != nil { // gws compares the reply with the first line only
		o.RequestHeader.Set("Sec-WebSocket-Protocol", strings.Join(offer, ", "))
	}
	c, _, err := gws.NewClient(h, o)
	return h.begin(c, err)
}

// A gwsConn makes a conn of gws's callbacks.
type gwsConn struct {
	*gws.Conn
	ctx   context.Context
	pongs chan struct{}
	// messages holds more than any scenario leaves unread, so that the
	// callbacks never wait for a Recv that does not come.
	messages chan received
}

func newGWS(ctx context.Context) *gwsConn {
	return &gwsConn{ctx: ctx, pongs: make(chan struct{}, 1), messages: make(chan received, 1000)}
}

func (c *gwsConn) begin(g *gws.Conn, err error) (conn, error) {
	if err != nil {
		return nil, err
	}
	c.Conn = g
	go g.ReadLoop()
	return c, nil
}

func (c *gwsConn) OnOpen(*gws.Conn) {}

func (c *gwsConn) OnPing(g *gws.Conn, p []byte) { g.WritePong(p) }

func (c *gwsConn) OnPong(*gws.Conn, []byte) { c.pongs <- struct{}{} }

func (c *gwsConn) OnMessage(_ *gws.Conn, m *gws.Message) {
	op := "binary"
	if m.Opcode == gws.OpcodeText {
		op = "text"
	}
	c.messages <- received{op: op, p: bytes.Clone(m.Bytes())}
	m.Close()
}

func (c *gwsConn) OnClose(_ *gws.Conn, err error) {
	var closed *gws.CloseError
	if errors.As(err, &closed) {
		if closed.Code == 0 { // an empty close frame
			closed.Code = 1005
		}
		err = closedError{int(closed.Code), string(closed.Reason)}
	}
	c.messages <- received{err: err}
}

func (c *gwsConn) Subprotocol() string { return c.SubProtocol() }

func gwsOpcode(op string) gws.Opcode {
	if op == "text" {
		return gws.OpcodeText
	}
	return gws.OpcodeBinary
}

func (c *gwsConn) Send(op string, p []byte) error { return c.WriteMessage(gwsOpcode(op), p) }

// SendFragments leaves it to gws where to cut: after each 128 KiB.
func (c *gwsConn) SendFragments(op string, pieces [][]byte, _ func() error) error {
	return c.WriteFile(gwsOpcode(op), bytes.NewReader(bytes.Join(pieces, nil)))
}

func (c *gwsConn) Ping() error {
	if err := c.WritePing([]byte("gws")); err != nil {
		return err
	}
	return waitPong(c.ctx, c.pongs)
}

func (c *gwsConn) Recv() (string, []byte, error) {
	r := <-c.messages
	return r.op, r.p, r.err
}

func (c *gwsConn) Close(code int, reason string) error {
	return c.WriteClose(uint16(code), []byte(reason))
}

func (c *gwsConn) Cut() { c.NetConn().Close() }
