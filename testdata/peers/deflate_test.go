package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"example.com/websocket"
	coder "github.com/coder/websocket"
	"github.com/lxzan/gws"
)

// deflateScenarios are those in which compression can go wrong: sizes around
// the limits of headers and buffers, long series of messages that refer to
// each other, messages that do not shrink among them, fragments, and control
// frames between these.
var deflateScenarios = func() []scenario {
	bye := clientCloses(1000, "bye")
	var sizes, series []part
	for _, size := range []int{0, 1, 20, 125, 126, 1000, 4096, 16384, 65535, 65536, 1 << 20} {
		sizes = append(sizes, echo("text", mixed+"and more. ", size/20*20), echo("binary", "", size))
	}
	for i := range 60 {
		series = append(series, echoText(object(i)))
		if i%20 == 10 {
			series = append(series, echoText(noise(i, 2000)), echo("binary", "", 70000))
		}
	}
	return []scenario{
		talk("sizes", append(sizes, bye)...),
		talk("series", append(series, bye)...),
		talk("fragments", fragments("text", mixed+"fragment. ", 300000, 7, false), echoText(object(1)),
			fragments("binary", "", 300001, 10, false), echoText(object(2)), bye),
		talk("fragments around pings", fragments("text", mixed, 300000, 4, true), echoText(object(3)), bye),
		talk("server fragments", serverFragments("text", mixed, 300000, 7), serverFragments("binary", "", 300001, 10), echoText(object(4)), bye),
		talk("server floods and closes", serverFloods(100, 20000, 4001)),
	}
}()

// object is one of many JSON objects of one shape.
func object(i int) string {
	return fmt.Sprintf(`{"id":"%05x","seq":%d,"user":"user%d","symbol":"%s","price":%d.%02d,"at":"2024-05-14T10:%02d:%02dZ"}`,
		i*7919%99991, 100000+i, i%14, []string{"AAPL", "MSFT", "GOOG"}[i%3], i*31%1000, i*17%100, i/60%60, i%60)
}

// noise is text of the given size that does not shrink by much.
func noise(seed, size int) string {
	x := uint32(seed)*2654435761 + 1
	b := make([]byte, size)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = ' ' + byte(x>>24)%95
	}
	return string(b)
}

// A meter counts the bytes of messages in one direction, and those of them that
// were on the wire.
type meter struct{ content, wire atomic.Int64 }

// saved reports whether the messages were compressed.
func (m *meter) saved() bool {
	return m.content.Load() > 1<<20 && m.wire.Load() < m.content.Load()/4*3
}

func (m *meter) String() string {
	return fmt.Sprintf("%d bytes for %d of messages", m.wire.Load(), m.content.Load())
}

// A deflating is our side with compression on, and what it sent and received.
type deflating struct {
	o       websocket.Compression
	in, out meter
	agreed  atomic.Pointer[websocket.Compression] // on the last connection
}

// A meteredConn counts what passes.
type meteredConn struct {
	net.Conn
	d *deflating
}

func (c meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.d.in.wire.Add(int64(n))
	return n, err
}

func (c meteredConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.d.out.wire.Add(int64(n))
	return n, err
}

func (c meteredConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// A meteredListener accepts such connections.
type meteredListener struct {
	net.Listener
	d *deflating
}

func (l meteredListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return meteredConn{c, l.d}, nil
}

// A deflatedConn counts the messages of a connection of ours.
type deflatedConn struct {
	ourConn
	d *deflating
}

func (d *deflating) conn(c *websocket.Conn, ctx context.Context) conn {
	d.agreed.Store(c.Compression())
	return deflatedConn{ourConn{c, ctx}, d}
}

func (c deflatedConn) Send(op string, p []byte) error {
	c.d.out.content.Add(int64(len(p)))
	return c.ourConn.Send(op, p)
}

func (c deflatedConn) SendFragments(op string, pieces [][]byte, between func() error) error {
	for _, p := range pieces {
		c.d.out.content.Add(int64(len(p)))
	}
	return c.ourConn.SendFragments(op, pieces, between)
}

func (c deflatedConn) Recv() (string, []byte, error) {
	op, p, err := c.ourConn.Recv()
	c.d.in.content.Add(int64(len(p)))
	return op, p, err
}

// server is our server.
func (d *deflating) server(t *testing.T) *server {
	s := &server{ends: newEndings()}
	h := httptest.NewUnstartedServer(serverHandler(t, s.ends, func(w http.ResponseWriter, r *http.Request) (conn, error) {
		u := websocket.Upgrader{
			Subprotocols: []string{subprotocol},
			CheckOrigin:  func(*http.Request) bool { return true },
			Options:      websocket.Options{Compression: &d.o},
		}
		c, err := u.Upgrade(w, r)
		if err != nil {
			return nil, err
		}
		return d.conn(c, c.Context()), nil
	}))
	h.Listener = meteredListener{h.Listener, d}
	h.Start()
	t.Cleanup(h.Close)
	s.url = "ws://" + h.Listener.Addr().String() + "/"
	return s
}

// client is our client.
func (d *deflating) client() client {
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return meteredConn{c, d}, nil
	}}
	return goClient(func(ctx context.Context, url string, offer []string) (conn, error) {
		dialer := websocket.Dialer{
			Client:       &http.Client{Transport: transport},
			Subprotocols: offer,
			Options:      websocket.Options{Compression: &d.o},
		}
		c, _, err := dialer.Dial(ctx, url)
		if err != nil {
			return nil, err
		}
		return d.conn(c, ctx), nil
	})
}

// A deflatePair is a peer with some settings and us with some.
type deflatePair struct {
	name string
	o    websocket.Compression
	// want is what must be agreed on, as we see it: see agreed.
	want string
	// plainIn says why the peer compresses nothing, if it does not.
	plainIn string
}

// agreed describes what was agreed on: the bits of both windows, ours first,
// and "alone" behind them if there is no context takeover.
func agreed(o *websocket.Compression) string {
	if o == nil {
		return "none"
	}
	side := func(bits int, alone bool) string {
		if alone {
			return "alone"
		}
		return fmt.Sprint(bits)
	}
	return side(o.WriteWindowBits, o.NoWriteTakeover) + " " + side(o.ReadWindowBits, o.NoReadTakeover)
}

// run takes the pair through the scenarios, and checks that what was agreed on
// is what is to be, and that messages were in fact compressed in both
// directions.
func (p deflatePair) run(t *testing.T, d *deflating, pair pairing) {
	t.Helper()
	pair.scenarios = deflateScenarios
	pair.run(t)
	if got := agreed(d.agreed.Load()); got != p.want {
		t.Errorf("agreed on %s, want %s", got, p.want)
	}
	if !d.out.saved() {
		t.Errorf("sent %v: not compressed", &d.out)
	}
	if d.in.saved() != (p.plainIn == "") {
		t.Errorf("received %v, want it compressed = %t %s", &d.in, p.plainIn == "", p.plainIn)
	}
}

// everyWindow returns our settings, with windows of all sizes.
func everyWindow(from int) (list []websocket.Compression) {
	for bits := from; bits <= 15; bits++ {
		list = append(list, websocket.Compression{WriteWindowBits: bits, ReadWindowBits: bits, Threshold: 1})
	}
	return list
}

// marshal returns the settings for a program in another language.
func marshal(settings map[string]any) string {
	b, err := json.Marshal(settings)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestDeflateGorilla(t *testing.T) {
	const want = "alone alone" // it knows no takeover
	deflateGoPeer(t, goPeer{accept: gorillaDeflate, dial: gorillaDial}, deflatePair{name: "gorilla", want: want}, want)
}

func TestDeflateGobwas(t *testing.T) {
	const want = "alone alone"
	deflateGoPeer(t, goPeer{accept: gobwasDeflate, dial: gobwasDialDeflate}, deflatePair{name: "gobwas", want: want}, want)
}

func TestDeflateCoder(t *testing.T) {
	for _, r := range []struct {
		name               string
		mode               coder.CompressionMode
		o                  websocket.Compression
		asServer, asClient string
	}{
		// It bounds no window, and does not offer to.
		{"takeover", coder.CompressionContextTakeover, websocket.Compression{}, "12 alone", "12 alone"},
		{"takeover and large windows", coder.CompressionContextTakeover, websocket.Compression{WriteWindowBits: 15, ReadWindowBits: 15}, "15 15", "15 15"},
		{"no takeover", coder.CompressionNoContextTakeover, websocket.Compression{}, "alone alone", "alone alone"},
		{"no takeover of ours", coder.CompressionContextTakeover, websocket.Compression{NoWriteTakeover: true, ReadWindowBits: 15}, "alone 15", "alone 15"},
	} {
		peer := goPeer{
			accept: func(w http.ResponseWriter, req *http.Request) (conn, error) { return coderUpgrade(w, req, r.mode) },
			dial: func(ctx context.Context, url string, offer []string) (conn, error) {
				return coderConnect(ctx, url, offer, r.mode)
			},
		}
		deflateGoPeer(t, peer, deflatePair{name: r.name, o: r.o, want: r.asServer}, r.asClient)
	}
}

func TestDeflateGWS(t *testing.T) {
	type row struct {
		name               string
		deflate            gws.PermessageDeflate
		o                  websocket.Compression
		asServer, asClient string
	}
	// As a server it takes all offers for one, and so ours of a bounded window,
	// or else no takeover, for one of both.
	rows := []row{
		{"no takeover", gws.PermessageDeflate{}, websocket.Compression{}, "alone alone", "alone alone"},
		{"takeover", gws.PermessageDeflate{ServerContextTakeover: true, ClientContextTakeover: true}, websocket.Compression{}, "12 12", "12 alone"},
		{"takeover of the server", gws.PermessageDeflate{ServerContextTakeover: true}, websocket.Compression{}, "12 alone", "alone alone"},
		{"takeover of the client", gws.PermessageDeflate{ClientContextTakeover: true}, websocket.Compression{}, "alone 12", "12 alone"},
	}
	for bits := 9; bits <= 15; bits++ {
		deflate := gws.PermessageDeflate{ServerContextTakeover: true, ClientContextTakeover: true, ServerMaxWindowBits: bits, ClientMaxWindowBits: bits}
		asServer := fmt.Sprint(bits, " ", bits)
		asClient := fmt.Sprint(bits, " alone")
		if bits == 15 { // there is a single offer then
			asClient = asServer
		}
		rows = append(rows, row{fmt.Sprintf("windows of %d bits", bits), deflate, websocket.Compression{WriteWindowBits: bits, ReadWindowBits: bits}, asServer, asClient})
	}
	for _, r := range rows {
		r.deflate.Enabled, r.deflate.Threshold = true, 1
		peer := goPeer{
			accept: func(w http.ResponseWriter, req *http.Request) (conn, error) { return gwsUpgrade(w, req, r.deflate) },
			dial: func(ctx context.Context, url string, offer []string) (conn, error) {
				return gwsConnect(ctx, url, offer, r.deflate)
			},
			clientLacks: map[string]string{"ping in fragments": "gws.Conn.WriteFile holds the write lock for the whole message"},
		}
		deflateGoPeer(t, peer, deflatePair{name: r.name, o: r.o, want: r.asServer}, r.asClient)
	}
}

// deflateGoPeer runs a pair in both roles.
func deflateGoPeer(t *testing.T, peer goPeer, p deflatePair, atClient string) {
	t.Run(p.name+"/server=ours", func(t *testing.T) {
		d := &deflating{o: p.o}
		p.run(t, d, pairing{server: d.server(t), client: goClient(peer.dial), lacks: peer.clientLacks, clientAnswers: peer.answers})
	})
	p.want = atClient
	t.Run(p.name+"/client=ours", func(t *testing.T) {
		d := &deflating{o: p.o}
		p.run(t, d, pairing{server: goServer(t, peer.accept), client: d.client(), lacks: peer.serverLacks, serverAnswers: peer.answers})
	})
}

// The options are those of ws's perMessageDeflate.
func TestDeflateNodeWS(t *testing.T) {
	install, node := node(t)
	type row struct {
		name     string
		options  map[string]any
		o        websocket.Compression
		asServer string // agreed on when we are the server
		asClient string
	}
	rows := []row{
		{name: "defaults", asServer: "12 12", asClient: "12 12"},
		{name: "our windows of 32 KiB", o: websocket.Compression{WriteWindowBits: 15, ReadWindowBits: 15}, asServer: "15 15", asClient: "15 15"},
		{name: "no takeover of ours", o: websocket.Compression{NoWriteTakeover: true}, asServer: "alone 12", asClient: "alone 12"},
		{name: "no takeover of its", o: websocket.Compression{NoReadTakeover: true}, asServer: "12 alone", asClient: "12 alone"},
		{name: "serverNoContextTakeover", options: map[string]any{"serverNoContextTakeover": true}, asServer: "alone 12", asClient: "12 alone"},
		{name: "clientNoContextTakeover", options: map[string]any{"clientNoContextTakeover": true}, asServer: "12 alone", asClient: "alone 12"},
		{name: "both", options: map[string]any{"serverNoContextTakeover": true, "clientNoContextTakeover": true}, asServer: "alone alone", asClient: "alone alone"},
	}
	for bits := 9; bits <= 15; bits++ {
		own := min(bits, 12)
		rows = append(rows,
			row{name: fmt.Sprintf("serverMaxWindowBits %d", bits), options: map[string]any{"serverMaxWindowBits": bits},
				asServer: fmt.Sprintf("%d 12", own), asClient: fmt.Sprintf("12 %d", bits)},
			row{name: fmt.Sprintf("clientMaxWindowBits %d", bits), options: map[string]any{"clientMaxWindowBits": bits},
				asServer: fmt.Sprintf("12 %d", own), asClient: fmt.Sprintf("%d 12", own)})
	}
	for i := range rows { // it declines an offer with a smaller window than it has set
		rows[i].asClient = strings.NewReplacer("12 13", "12 alone", "12 14", "12 alone", "12 15", "12 alone").Replace(rows[i].asClient)
	}
	for _, o := range everyWindow(8) {
		bits := o.WriteWindowBits
		rows = append(rows, row{name: fmt.Sprintf("our windows of %d bits", bits), o: o,
			asServer: fmt.Sprintf("%d %d", bits, bits), asClient: fmt.Sprintf("%d %d", bits, bits)})
	}
	for _, r := range rows {
		if r.options == nil {
			r.options = map[string]any{}
		}
		r.options["threshold"] = 0
		p := deflatePair{o: r.o}
		t.Run(r.name+"/server=ours", func(t *testing.T) {
			d := &deflating{o: p.o}
			p.want = r.asServer
			p.run(t, d, pairing{server: d.server(t), client: processClient(t, install, node, "js/clients.mjs", "ws", marshal(r.options))})
		})
		t.Run(r.name+"/client=ours", func(t *testing.T) {
			d := &deflating{o: p.o}
			p.want = r.asClient
			p.run(t, d, pairing{server: processServer(t, install, node, "js/server.mjs", marshal(r.options)), client: d.client()})
		})
	}
}

func TestDeflateUndici(t *testing.T) {
	install, node := node(t)
	d := &deflating{}
	p := deflatePair{want: "12 12", plainIn: "undici inflates, and compresses nothing"}
	p.run(t, d, pairing{server: d.server(t), client: processClient(t, install, node, "js/clients.mjs", "undici"), lacks: browserLacks})
}

func TestDeflatePythonWebsockets(t *testing.T) {
	install := pythonWebsockets(t)
	rows := []struct {
		name               string
		options            map[string]any // of Client- and ServerPerMessageDeflateFactory
		o                  websocket.Compression
		asServer, asClient string
	}{
		{name: "defaults", options: map[string]any{"client_max_window_bits": true}, asServer: "12 12", asClient: "12 12"},
		{name: "server_no_context_takeover", options: map[string]any{"server_no_context_takeover": true, "client_max_window_bits": true}, asServer: "alone 12", asClient: "12 alone"},
		{name: "client_no_context_takeover", options: map[string]any{"client_no_context_takeover": true}, asServer: "12 alone", asClient: "alone 12"},
		{name: "no bound on its window", options: map[string]any{"client_max_window_bits": nil}, asServer: "12 alone", asClient: "12 12"},
		{name: "server_max_window_bits", options: map[string]any{"server_max_window_bits": 10, "client_max_window_bits": true}, asServer: "10 12", asClient: "12 10"},
		{name: "client_max_window_bits", options: map[string]any{"client_max_window_bits": 9}, asServer: "12 9", asClient: "9 12"},
		{name: "large windows", options: map[string]any{"client_max_window_bits": 15, "server_max_window_bits": 15}, o: websocket.Compression{WriteWindowBits: 15, ReadWindowBits: 15}, asServer: "15 15", asClient: "15 15"},
		{name: "no takeover of ours", options: map[string]any{"client_max_window_bits": true}, o: websocket.Compression{NoWriteTakeover: true, NoReadTakeover: true}, asServer: "alone alone", asClient: "alone alone"},
	}
	for _, r := range rows {
		t.Run(r.name+"/server=ours", func(t *testing.T) {
			d := &deflating{o: r.o}
			p := deflatePair{want: r.asServer}
			p.run(t, d, pairing{server: d.server(t), client: processClient(t, install, python, "py/client.py", marshal(r.options))})
		})
		t.Run(r.name+"/client=ours", func(t *testing.T) {
			options := maps.Clone(r.options)
			if options["client_max_window_bits"] == true { // what only a client can say
				delete(options, "client_max_window_bits")
			}
			d := &deflating{o: r.o}
			p := deflatePair{want: r.asClient}
			p.run(t, d, pairing{server: processServer(t, install, python, "py/server.py", marshal(options)), client: d.client()})
		})
	}
}

// Chromium has compression on, and no settings.
func TestDeflateChromium(t *testing.T) {
	b, echo := startChromium(t), buildEcho(t)
	for _, r := range []struct {
		o    websocket.Compression
		want string
	}{
		{websocket.Compression{}, "12 12"},
		{websocket.Compression{NoWriteTakeover: true, NoReadTakeover: true}, "alone alone"},
		{websocket.Compression{WriteWindowBits: 15, ReadWindowBits: 15}, "15 15"},
		{websocket.Compression{WriteWindowBits: 8, ReadWindowBits: 9}, "8 9"},
	} {
		t.Run(strings.ReplaceAll(r.want, " ", ","), func(t *testing.T) {
			ctx := chromiumContext(t)
			d := &deflating{o: r.o}
			s := d.server(t)
			p := b.open(ctx, t, startEcho(t, echo).url)
			deflatePair{want: r.want}.run(t, d, pairing{server: s, client: p.client(ctx, t), lacks: browserLacks})
		})
	}
}
