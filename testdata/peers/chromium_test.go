package peers

import (
	"context"
	"fmt"
	"net/http"
	"testing"
)

// chromiumContext bounds what a test does with a page besides the scenarios,
// each of which has a bound of its own.
func chromiumContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	t.Cleanup(cancel)
	return ctx
}

func TestChromium(t *testing.T) {
	b, echo := startChromium(t), buildEcho(t)
	t.Run("ws", func(t *testing.T) { chromiumScenarios(t, b, startEcho(t, echo), goServer(t, ours.accept)) })
	t.Run("wss", func(t *testing.T) {
		cert, key := certificate(t)
		chromiumScenarios(t, b, startEcho(t, echo, "-cert", cert, "-key", key), tlsServer(t, cert, key))
	})
	t.Run("origin", func(t *testing.T) { chromiumOrigin(t, b) })
	t.Run("subprotocol missing", func(t *testing.T) { chromiumSubprotocolMissing(t, b) })
	t.Run("page reloaded", func(t *testing.T) { chromiumPageLeft(t, b, "Page.reload") })
	t.Run("page closed", func(t *testing.T) { chromiumPageLeft(t, b, "Page.close") })
	t.Run("many connections", func(t *testing.T) { chromiumManyConnections(t, b) })
	t.Run("echo page", func(t *testing.T) { echoPage(t, b, startEcho(t, echo)) })
	t.Run("echo page over TLS", func(t *testing.T) {
		cert, key := certificate(t)
		echoPage(t, b, startEcho(t, echo, "-cert", cert, "-key", key))
	})
}

// chromiumScenarios has scripts on the page of examples/echo talk to s. Over
// https they may use wss only, over http both.
func chromiumScenarios(t *testing.T, b *browser, echo *echoProgram, s *server) {
	ctx := chromiumContext(t)
	p := b.open(ctx, t, echo.url)
	pairing{server: s, client: p.client(ctx, t), lacks: browserLacks}.run(t)
}

// opens is a script: "open" if a WebSocket to url can be had, else the code of
// its close event.
const opens = `new Promise(resolve => {
	const ws = new WebSocket(%q, %s);
	ws.onopen = () => { resolve("open"); ws.close(); };
	ws.onclose = e => resolve(String(e.code) + (e.wasClean ? " clean" : ""));
})`

// The rules that protect users are the browser's and the server's together:
// the browser says which page it is that asks, the server refuses strangers.
func chromiumOrigin(t *testing.T, b *browser) {
	ctx := chromiumContext(t)
	// The zero Upgrader lets in pages of its own host only. It is the test's
	// own adapter that is more generous, hence no serverHandler here.
	strict := newHTTPServer(t, upgradeOrPage)
	other := newHTTPServer(t, upgradeOrPage)
	own, foreign := b.open(ctx, t, "http://"+strict+"/"), b.open(ctx, t, "http://"+other+"/")
	for _, test := range []struct {
		name string
		page *page
		want string
	}{
		{"own page", own, "open"},
		{"page of another port", foreign, "1006"},
	} {
		var got string
		err := test.page.eval(ctx, fmt.Sprintf(opens, "ws://"+strict+"/ws", "[]"), &got)
		if err != nil || got != test.want {
			t.Errorf("%s: %q, %v, want %q", test.name, got, err, test.want)
		}
	}
}

// A browser that asked for subprotocols and got none of them gives up.
func chromiumSubprotocolMissing(t *testing.T, b *browser) {
	ctx := chromiumContext(t)
	addr := newHTTPServer(t, upgradeOrPage)
	p := b.open(ctx, t, "http://"+addr+"/")
	var got string
	err := p.eval(ctx, fmt.Sprintf(opens, "ws://"+addr+"/ws", `["unknown.peers.test"]`), &got)
	if err != nil || got != "1006" {
		t.Errorf("WebSocket without the subprotocol it asked for: %q, %v, want 1006", got, err)
	}
}

// A page that is reloaded or closed says 1001. (One that is left for another
// page may be kept in the browser for the way back, its connections open.)
func chromiumPageLeft(t *testing.T, b *browser, how string) {
	ctx := chromiumContext(t)
	s := goServer(t, ours.accept)
	p := b.open(ctx, t, "http://"+newHTTPServer(t, upgradeOrPage)+"/")
	id := connectionID()
	var got string
	err := p.eval(ctx, fmt.Sprintf(`new Promise(resolve => {
		globalThis.ws = new WebSocket(%q);
		ws.onopen = () => ws.send("here");
		ws.onmessage = e => resolve(e.data);
		ws.onclose = e => resolve("closed " + e.code);
	})`, s.url+"?id="+id), &got)
	if err != nil || got != "here" {
		t.Fatalf("echo = %q, %v", got, err)
	}
	if err := p.do(ctx, how, nil, nil); err != nil {
		t.Fatal(err)
	}
	pairing{server: s}.checkEnd(ctx, t, id, ending{Code: 1001})
}

// Many connections of one page at once, each with messages under way in both
// directions, and bufferedAmount back at zero when all have come back.
func chromiumManyConnections(t *testing.T, b *browser) {
	ctx := chromiumContext(t)
	s := goServer(t, ours.accept)
	p := b.open(ctx, t, "http://"+newHTTPServer(t, upgradeOrPage)+"/")
	var got []string
	err := p.eval(ctx, fmt.Sprintf(`Promise.all(Array.from({length: 25}, (_, i) => new Promise(resolve => {
		const ws = new WebSocket(%q + i), big = new Uint8Array(200000 + i);
		let come = 0;
		ws.binaryType = "arraybuffer";
		ws.onopen = () => { for (let n = 0; n < 10; n++) ws.send(big); };
		ws.onmessage = e => {
			if (e.data.byteLength !== big.length) resolve("length " + e.data.byteLength);
			if (++come === 10) ws.close(1000, "buffered " + ws.bufferedAmount);
		};
		ws.onclose = e => resolve(e.code + " after " + come);
	})))`, s.url+"?id=many"), &got)
	if err != nil || len(got) != 25 {
		t.Fatalf("connections: %v, %v", got, err)
	}
	for i, result := range got {
		if result != "1000 after 10" {
			t.Errorf("connection %d: %s", i, result)
		}
		pairing{server: s}.checkEnd(ctx, t, fmt.Sprint("many", i), ending{Code: 1000, Reason: "buffered 0"})
	}
}

// upgradeOrPage serves a blank page and, at /ws, a WebSocket of the zero
// Upgrader.
func upgradeOrPage(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/ws" {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>page</title>")
		return
	}
	if c, err := oursStrict(w, r); err == nil {
		defer c.Cut()
		serve(c)
	}
}
