package websocket

import (
	"context"
	"sync"
	"time"
)

// aLongTimeAgo is a deadline that cuts what waits for the network, and
// noDeadline takes a deadline back.
var (
	aLongTimeAgo = time.Unix(1, 0)
	noDeadline   time.Time
)

// A watch lets the end of a context cut short what one direction of a
// connection waits for, by a deadline in the past.
type watch struct {
	setDeadline func(time.Time) error
	onDone      func()      // fire, kept so that arm need not make it
	stop        func() bool // nil while not armed

	mu    sync.Mutex
	ctx   context.Context // nil while not armed
	cut   bool            // the deadline in the past is set
	taken bool            // Close has the word: no context sets a deadline any more
}

func (w *watch) init(setDeadline func(time.Time) error) {
	w.setDeadline = setDeadline
	w.onDone = w.fire
}

// arm begins to watch ctx, unless something is watched already.
func (w *watch) arm(ctx context.Context) {
	if w.stop != nil {
		return
	}
	w.mu.Lock()
	w.ctx = ctx
	w.mu.Unlock()
	w.stop = context.AfterFunc(ctx, w.onDone)
}

// disarm ends the watch. The deadline is then as it was: after disarm returns,
// nothing that arm began touches it.
func (w *watch) disarm() {
	if w.stop == nil {
		return
	}
	w.stop()
	w.stop = nil
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ctx = nil
	if w.cut && !w.taken {
		w.setDeadline(noDeadline)
	}
	w.cut = false
}

// fire runs when a context has ended, maybe so late that another one is
// watched by now: that one's end is what counts.
func (w *watch) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx != nil && w.ctx.Err() != nil && !w.taken {
		w.setDeadline(aLongTimeAgo)
		w.cut = true
	}
}

// take cuts short what is under way, for good as far as contexts go: from now
// on the deadline is the caller's.
func (w *watch) take() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken = true
	w.setDeadline(aLongTimeAgo)
}
