package peers

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait of these tests. It is never measured against:
// only a peer that hangs reaches it.
const patience = 60 * time.Second

// A job is what a client is given to do.
type job struct {
	URL   string   `json:"url"`
	Offer []string `json:"offer"`
	Steps []step   `json:"steps"`
}

// A client does a job and says what it saw, the event open first.
type client func(context.Context, job) ([]event, error)

// A server echoes messages and obeys the commands of serve. Of each connection
// it records under the id in the URL's query how it ended.
type server struct {
	url  string
	ends *endings
}

// endings collects what servers report.
type endings struct {
	mu   sync.Mutex
	byID map[string]chan ending
}

func newEndings() *endings { return &endings{byID: make(map[string]chan ending)} }

func (e *endings) channel(id string) chan ending {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.byID[id] == nil {
		e.byID[id] = make(chan ending, 1)
	}
	return e.byID[id]
}

func (e *endings) report(end ending) { e.channel(end.ID) <- end }

func (e *endings) wait(ctx context.Context, id string) (ending, error) {
	select {
	case end := <-e.channel(id):
		return end, nil
	case <-ctx.Done():
		return ending{}, fmt.Errorf("the server did not report how connection %q ended: %w", id, ctx.Err())
	}
}

// A pairing is a server and a client of which one is ours.
type pairing struct {
	server    *server
	client    client
	scenarios []scenario // nil: the table of scenarios_test.go
	// lacks holds what a side's API cannot do, by the names of
	// scenario.needs, and why. Scenarios that need it are not run.
	lacks map[string]string
	// These hold the status codes with which a side answers a close frame that
	// has another code. RFC 6455, section 5.5.1, has them "typically" the same.
	serverAnswers, clientAnswers map[int]int
}

// run takes the pairing through every scenario.
func (p pairing) run(t *testing.T) {
	t.Helper()
	if p.scenarios == nil {
		p.scenarios = scenarios
	}
	for _, s := range p.scenarios {
		if need := p.missing(s); need != "" {
			t.Logf("not run: %s (%s: %s)", s.name, need, p.lacks[need])
			continue
		}
		t.Run(s.name, func(t *testing.T) { p.play(t, s) })
	}
}

func (p pairing) missing(s scenario) string {
	for _, need := range s.needs() {
		if _, ok := p.lacks[need]; ok {
			return need
		}
	}
	return ""
}

func (p pairing) play(t *testing.T, s scenario) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	id := connectionID()
	got, err := p.client(ctx, job{URL: p.server.url + "?id=" + url.QueryEscape(id), Offer: s.offer, Steps: s.steps})
	if err != nil {
		t.Fatalf("client: %v, after %v", err, got)
	}
	if want := p.expected(s); !slices.Equal(got, want) {
		t.Errorf("client saw\n\t%v, want\n\t%v", got, want)
	}
	want := s.end
	if code, ok := p.clientAnswers[want.Code]; ok && s.closer == "server" {
		want.Code = code
	}
	p.checkEnd(ctx, t, id, want)
}

func (p pairing) expected(s scenario) []event {
	want := []event{{Op: "open"}}
	if slices.Contains(s.offer, subprotocol) {
		want[0].Text = subprotocol
	}
	for _, e := range s.want {
		if code, ok := p.serverAnswers[e.Code]; ok && e.Op == "closed" && s.closer == "client" {
			e.Code = code
		}
		want = append(want, e)
	}
	return want
}

// checkEnd compares how the server says that connection id ended. The reason
// counts only where the client gave one: in an answer it is up to the peer.
func (p pairing) checkEnd(ctx context.Context, t *testing.T, id string, want ending) {
	t.Helper()
	if want.Code == 0 {
		return
	}
	got, err := p.server.ends.wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if got.Code != want.Code || want.Reason != "" && got.Reason != want.Reason {
		t.Errorf("server saw the end %d %q, want %d %q", got.Code, got.Reason, want.Code, want.Reason)
	}
}

var lastID struct {
	sync.Mutex
	n int
}

// connectionID returns a name that no other connection of this run has.
func connectionID() string {
	lastID.Lock()
	defer lastID.Unlock()
	lastID.n++
	return fmt.Sprintf("c%d", lastID.n)
}

// A closedError says that a close frame ended a connection. Each adapter
// turns its library's own error into it; any other error counts as 1006.
type closedError struct {
	code   int
	reason string
}

func (e closedError) Error() string {
	return fmt.Sprintf("closed by the peer: %d %q", e.code, e.reason)
}

// endOf turns what Recv returned into an ending. closing is nil unless this
// side has begun to close; then it gives the result of its Close, which is a
// closedError too if only there the library tells what the peer answered. Some
// libraries tell it nowhere: then the ending has ownCode.
func endOf(err error, ownCode int, closing <-chan error) ending {
	var closed closedError
	if !errors.As(err, &closed) && closing != nil {
		closeErr := <-closing
		if closeErr == nil {
			return ending{Code: ownCode}
		}
		err = errors.Join(err, closeErr)
	}
	if errors.As(err, &closed) {
		return ending{Code: closed.code, Reason: closed.reason}
	}
	return ending{Code: 1006, Reason: err.Error()}
}
