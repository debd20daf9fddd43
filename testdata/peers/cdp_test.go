package peers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// A browser is a headless Chromium, driven over the DevTools protocol: JSON
// messages on a WebSocket, of which our library is the client.
type browser struct {
	conn conn

	mu      sync.Mutex
	last    int
	pending map[int]chan reply
	waiting map[string]chan struct{} // by session and event
	err     error                    // of conn; nothing more will come
}

type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// startChromium starts a browser that ends with the test.
func startChromium(t *testing.T) *browser {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p := start(t, "apt-get install -y chromium", "chromium",
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--ignore-certificate-errors", "--remote-debugging-port=0", "--user-data-dir="+profile(t), "about:blank")
	url, err := p.stderr.wait(ctx, "DevTools listening on ", p.done)
	if err != nil {
		t.Fatal(err)
	}
	// Not ctx, nor that of t, which ends before the cleanup does.
	c, err := ours.dial(context.Background(), url, nil)
	if err != nil {
		t.Fatalf("DevTools: %v", err)
	}
	b := &browser{conn: c, pending: make(map[int]chan reply), waiting: make(map[string]chan struct{})}
	go b.receive()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		// Its helpers end in order if it is asked; start's cleanup kills what
		// does not listen.
		b.call(ctx, "", "Browser.close", nil, nil)
		select {
		case <-p.done:
		case <-ctx.Done():
		}
		c.Cut()
	})
	return b
}

// profile returns a new directory for the browser's data. It is not
// t.TempDir: that one fails the test if a helper process of the browser still
// writes while the directory is removed.
func profile(t *testing.T) string {
	dir := must(os.MkdirTemp("", "chromium-"))(t)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// receive hands replies and events to those who wait.
func (b *browser) receive() {
	for {
		_, p, err := b.conn.Recv()
		b.mu.Lock()
		if err != nil {
			b.err = err
			for _, ch := range b.pending {
				close(ch)
			}
			b.mu.Unlock()
			return
		}
		b.dispatch(p)
		b.mu.Unlock()
	}
}

func (b *browser) dispatch(p []byte) {
	var m struct {
		ID        int
		SessionID string
		Method    string
		reply
	}
	if err := json.Unmarshal(p, &m); err != nil {
		return
	}
	if ch := b.pending[m.ID]; ch != nil {
		ch <- m.reply
		delete(b.pending, m.ID)
	}
	if ch := b.waiting[m.SessionID+m.Method]; ch != nil {
		close(ch)
		delete(b.waiting, m.SessionID+m.Method)
	}
}

// event returns a channel that is closed when the event comes to the session.
func (b *browser) event(session, method string) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	ch := make(chan struct{})
	b.waiting[session+method] = ch
	return ch
}

// call calls a method of the protocol.
func (b *browser) call(ctx context.Context, session, method string, params, result any) error {
	ch := make(chan reply, 1)
	b.mu.Lock()
	b.last++
	id, err := b.last, b.err
	b.pending[id] = ch
	b.mu.Unlock()
	if err != nil {
		return err
	}
	request := map[string]any{"id": id, "method": method, "params": params}
	if session != "" {
		request["sessionId"] = session
	}
	p, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if err := b.conn.Send("text", p); err != nil {
		return err
	}
	select {
	case r, ok := <-ch:
		return r.into(method, ok, result)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
}

func (r reply) into(method string, ok bool, result any) error {
	switch {
	case !ok:
		return fmt.Errorf("%s: the browser is gone", method)
	case r.Error != nil:
		return fmt.Errorf("%s: %s", method, r.Error.Message)
	case result == nil:
		return nil
	}
	return json.Unmarshal(r.Result, result)
}

// A page is a tab of a browser.
type page struct {
	*browser
	session string
}

// open opens a tab and waits until the page at url has loaded.
func (b *browser) open(ctx context.Context, t *testing.T, url string) *page {
	t.Helper()
	var target struct{ TargetID string }
	if err := b.call(ctx, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		t.Fatal(err)
	}
	var attached struct{ SessionID string }
	if err := b.call(ctx, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached); err != nil {
		t.Fatal(err)
	}
	p := &page{b, attached.SessionID}
	if err := p.do(ctx, "Page.enable", nil, nil); err != nil {
		t.Fatal(err)
	}
	p.navigate(ctx, t, url)
	return p
}

func (p *page) do(ctx context.Context, method string, params, result any) error {
	return p.call(ctx, p.session, method, params, result)
}

func (p *page) navigate(ctx context.Context, t *testing.T, url string) {
	t.Helper()
	loaded := p.event(p.session, "Page.loadEventFired")
	var nav struct{ ErrorText string }
	if err := p.do(ctx, "Page.navigate", map[string]any{"url": url}, &nav); err != nil || nav.ErrorText != "" {
		t.Fatalf("navigate to %s: %v %s", url, err, nav.ErrorText)
	}
	select {
	case <-loaded:
	case <-ctx.Done():
		t.Fatalf("navigate to %s: %v", url, ctx.Err())
	}
}

// eval evaluates an expression on the page, waits if it is a promise, and puts
// its value into result.
func (p *page) eval(ctx context.Context, expression string, result any) error {
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	err := p.do(ctx, "Runtime.evaluate", map[string]any{
		"expression": expression, "awaitPromise": true, "returnByValue": true,
	}, &r)
	if err != nil {
		return err
	}
	if e := r.ExceptionDetails; e != nil {
		return errors.New(strings.TrimSpace(e.Text + " " + e.Exception.Description))
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(r.Result.Value, result)
}

// client makes a client of the page: its scripts open the WebSockets.
func (p *page) client(ctx context.Context, t *testing.T) client {
	t.Helper()
	src := must(os.ReadFile("js/client.mjs"))(t)
	// A module can only be loaded from somewhere; a function needs no place,
	// and keeps its names apart from the page's.
	script := strings.ReplaceAll(string(src), "export ", "")
	if err := p.eval(ctx, "(() => {\n"+script+"\nglobalThis.play = play; })()", nil); err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, j job) ([]event, error) {
		b, err := json.Marshal(j)
		if err != nil {
			return nil, err
		}
		var events []event
		err = p.eval(ctx, fmt.Sprintf("play(WebSocket, %s)", b), &events)
		return events, err
	}
}

// see waits until condition, an expression in which $ is
// document.querySelector, is true of the page.
func (p *page) see(ctx context.Context, t *testing.T, condition string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := p.eval(ctx, fmt.Sprintf(`new Promise(resolve => {
		const $ = selector => document.querySelector(selector);
		const look = () => { if (%s) { changes.disconnect(); resolve(true); } };
		const changes = new MutationObserver(look);
		changes.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
		look();
	})`, condition), nil)
	if err != nil {
		var text string
		p.eval(t.Context(), "document.body.innerText", &text)
		t.Fatalf("page does not show %s: %v; it shows\n%s", condition, err, text)
	}
}

// click presses and releases the mouse in the middle of an element, times
// times: three select what is in a field.
func (p *page) click(ctx context.Context, t *testing.T, selector string, times int) {
	t.Helper()
	var at struct{ X, Y float64 }
	err := p.eval(ctx, fmt.Sprintf(`(() => {
		const e = document.querySelector(%q);
		e.scrollIntoView({behavior: "instant", block: "center"});
		const box = e.getBoundingClientRect();
		return {x: box.x + box.width / 2, y: box.y + box.height / 2};
	})()`, selector), &at)
	for n := 1; n <= times && err == nil; n++ {
		for _, what := range []string{"mousePressed", "mouseReleased"} {
			err = errors.Join(err, p.do(ctx, "Input.dispatchMouseEvent", map[string]any{
				"type": what, "x": at.X, "y": at.Y, "button": "left", "clickCount": n,
			}, nil))
		}
	}
	if err != nil {
		t.Fatalf("click %s: %v", selector, err)
	}
}

// write replaces what is in a field.
func (p *page) write(ctx context.Context, t *testing.T, selector, text string) {
	t.Helper()
	p.click(ctx, t, selector, 3)
	if err := p.do(ctx, "Input.insertText", map[string]any{"text": text}, nil); err != nil {
		t.Fatal(err)
	}
}

// choose puts a file into a field for files, whose dialog headless browsers
// do not have.
func (p *page) choose(ctx context.Context, t *testing.T, selector, path string) {
	t.Helper()
	var e struct{ Result struct{ ObjectID string } }
	err := p.do(ctx, "Runtime.evaluate", map[string]any{"expression": fmt.Sprintf("document.querySelector(%q)", selector)}, &e)
	if err == nil {
		err = p.do(ctx, "DOM.setFileInputFiles", map[string]any{"files": []string{path}, "objectId": e.Result.ObjectID}, nil)
	}
	if err != nil {
		t.Fatalf("choose %s in %s: %v", path, selector, err)
	}
}
