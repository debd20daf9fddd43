package peers

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/gobwas/ws/wsutil"
)

func TestGobwas(t *testing.T) {
	goPeer{accept: gobwasAccept, dial: gobwasDial}.run(t)
}

func gobwasAccept(w http.ResponseWriter, r *http.Request) (conn, error) {
	u := ws.HTTPUpgrader{Protocol: func(name string) bool { return name == subprotocol }}
	c, rw, hs, err := u.Upgrade(r, w)
	if err != nil {
		return nil, err
	}
	return newGobwas(context.Background(), c, rw.Reader, ws.StateServerSide, hs.Protocol), nil
}

func gobwasDial(ctx context.Context, url string, offer []string) (conn, error) {
	c, br, hs, err := ws.Dialer{Protocols: offer}.Dial(ctx, url)
	if err != nil {
		return nil, err
	}
	if br == nil { // no frame came with the reply
		br = bufio.NewReader(c)
	}
	return newGobwas(ctx, c, br, ws.StateClientSide, hs.Protocol), nil
}

// A gobwasConn adds to gobwas, which is a codec, what a connection needs: a
// lock for writers, pongs that someone waits for, the end of a handshake that
// we began.
type gobwasConn struct {
	net      net.Conn
	in       wsutil.Reader
	state    ws.State
	protocol string
	ctx      context.Context
	pongs    chan struct{}

	deflate bool
	message wsflate.MessageState // being received

	writing sync.Mutex
	closing bool
}

// gobwasDeflate negotiates compression by wsflate, which knows no takeover.
func gobwasDeflate(w http.ResponseWriter, r *http.Request) (conn, error) {
	e := wsflate.Extension{Parameters: wsflate.DefaultParameters}
	u := ws.HTTPUpgrader{Protocol: func(name string) bool { return name == subprotocol }, Negotiate: e.Negotiate}
	c, rw, hs, err := u.Upgrade(r, w)
	if err != nil {
		return nil, err
	}
	_, accepted := e.Accepted()
	return newGobwas(context.Background(), c, rw.Reader, ws.StateServerSide, hs.Protocol).deflating(accepted), nil
}

func gobwasDialDeflate(ctx context.Context, url string, offer []string) (conn, error) {
	d := ws.Dialer{Protocols: offer, Extensions: []httphead.Option{wsflate.DefaultParameters.Option()}}
	c, br, hs, err := d.Dial(ctx, url)
	if err != nil {
		return nil, err
	}
	if br == nil {
		br = bufio.NewReader(c)
	}
	return newGobwas(ctx, c, br, ws.StateClientSide, hs.Protocol).deflating(len(hs.Extensions) > 0), nil
}

func (c *gobwasConn) deflating(on bool) *gobwasConn {
	if c.deflate = on; on {
		c.in.State = c.in.State.Set(ws.StateExtended)
		c.in.CheckUTF8 = false // it would look at the compressed bytes
		c.in.Extensions = []wsutil.RecvExtension{&c.message}
	}
	return c
}

func newGobwas(ctx context.Context, c net.Conn, br *bufio.Reader, state ws.State, protocol string) *gobwasConn {
	g := &gobwasConn{net: c, state: state, protocol: protocol, ctx: ctx, pongs: make(chan struct{}, 1)}
	g.in = wsutil.Reader{Source: br, State: state, CheckUTF8: true, OnIntermediate: g.control}
	return g
}

func (c *gobwasConn) Subprotocol() string { return c.protocol }

func gobwasOpcode(op string) ws.OpCode {
	if op == "text" {
		return ws.OpText
	}
	return ws.OpBinary
}

func (c *gobwasConn) write(f ws.Frame) error {
	if c.state.ClientSide() {
		f = ws.MaskFrame(f)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	return ws.WriteFrame(c.net, f)
}

func (c *gobwasConn) Send(op string, p []byte) error {
	f := ws.NewFrame(gobwasOpcode(op), true, p)
	if c.deflate {
		var err error
		if f, err = wsflate.CompressFrame(f); err != nil {
			return err
		}
	}
	return c.write(f)
}

func (c *gobwasConn) SendFragments(op string, pieces [][]byte, between func() error) error {
	code := gobwasOpcode(op)
	for i, p := range pieces {
		if i > 0 {
			code = ws.OpContinuation
			if err := between(); err != nil {
				return err
			}
		}
		if err := c.write(ws.NewFrame(code, i == len(pieces)-1, p)); err != nil {
			return err
		}
	}
	return nil
}

func (c *gobwasConn) Ping() error {
	if err := c.write(ws.NewPingFrame([]byte("gobwas"))); err != nil {
		return err
	}
	return waitPong(c.ctx, c.pongs)
}

func (c *gobwasConn) Recv() (string, []byte, error) {
	for {
		h, err := c.in.NextFrame()
		if err != nil {
			return "", nil, err
		}
		if h.OpCode.IsControl() {
			if err := c.control(h, &c.in); err != nil {
				return "", nil, err
			}
			continue
		}
		p, err := io.ReadAll(&c.in)
		if err == nil && c.message.IsCompressed() {
			p, err = wsflate.DefaultHelper.Decompress(p)
		}
		if h.OpCode == ws.OpText {
			return "text", p, err
		}
		return "binary", p, err
	}
}

// control handles a control frame, also one between two fragments.
func (c *gobwasConn) control(h ws.Header, r io.Reader) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if h.OpCode == ws.OpClose && c.closing { // gobwas would answer the answer
		return closeAnswer(r)
	}
	err := wsutil.ControlFrameHandler(c.net, c.state)(h, r)
	if h.OpCode == ws.OpPong && err == nil {
		c.pongs <- struct{}{}
	}
	var closed wsutil.ClosedError
	if errors.As(err, &closed) {
		return closedError{int(closed.Code), closed.Reason}
	}
	return err
}

func closeAnswer(r io.Reader) error {
	p, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if len(p) == 0 {
		return closedError{code: int(ws.StatusNoStatusRcvd)}
	}
	code, reason := ws.ParseCloseFrameData(p)
	return closedError{int(code), reason}
}

func (c *gobwasConn) Close(code int, reason string) error {
	var body []byte
	if code != int(ws.StatusNoStatusRcvd) {
		body = ws.NewCloseFrameBody(ws.StatusCode(code), reason)
	}
	c.writing.Lock()
	c.closing = true
	c.writing.Unlock()
	return c.write(ws.NewCloseFrame(body))
}

func (c *gobwasConn) Cut() { c.net.Close() }
