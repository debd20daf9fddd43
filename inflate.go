package websocket

import (
	"compress/flate"
	"errors"
	"io"
	"sync"
)

// inflateTail is what follows a message's compressed bytes: the four that RFC
// 7692, section 7.2.1, has removed, and an empty final block, so that
// compress/flate sees the end of what it takes for one stream. That end cannot
// be reached but from the end of a block.
var inflateTail = []byte("\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff")

// emptyTail follows no bytes at all. By the RFC there is always one, the 00 of
// an empty message; but zlib has nothing to flush if nothing was written, and
// what is meant is clear.
var emptyTail = append([]byte{0}, inflateTail...)

// An inflation turns the compressed messages of one direction back into what
// they were. It does no I/O: it is fed, and says when it wants more. Between
// messages it holds the window if there is context takeover, and else nothing.
//
// The bytes of a message are gathered first, until all have come or a buffer
// is full. Most messages come to their end so, and are inflated by a mere
// call. But compress/flate pulls its input, and cannot go on after an error:
// for a message that is longer, or that is wanted before its end, it runs on a
// goroutine of its own, which can rest in the middle of a pull.
type inflation struct {
	takeover bool
	past     slidingWindow // what later messages may refer to

	src   deflateSource
	fl    *inflater // while a message is being inflated
	aside *aside    // where, if not here

	probe [64]byte // for a read that finds its destination full
}

// newInflation returns an inflation for what was agreed on.
func newInflation(o *Compression) *inflation {
	return &inflation{takeover: !o.NoReadTakeover, past: slidingWindow{size: 1 << o.ReadWindowBits}}
}

// errMore is that of a read that wants more compressed bytes to go on.
var errMore = errors.New("websocket: internal error: message not complete")

// begun reports whether inflating the message under way has begun: nothing can
// be gathered then but after an errMore.
func (z *inflation) begun() bool { return z.fl != nil }

// begin begins to inflate what was gathered of a message.
func (z *inflation) begin() {
	z.fl = inflaterPool.Get().(*inflater)
	past := &z.past
	if !z.takeover {
		past = &z.fl.past
		past.b = past.b[:0]
	}
	z.fl.begin(&z.src, past)
	if !z.src.final {
		z.aside = newAside(z.fl)
	}
}

// read reads content of the message into p, which is not empty: at least a
// byte. The error is errMore if there must be gathered more before, io.EOF at
// the message's end, and else what is wrong with it.
func (z *inflation) read(p []byte) (int, error) {
	if z.aside != nil {
		return z.aside.read(p)
	}
	return z.fl.read(p)
}

// end ends a message, whether all of it was read or not.
func (z *inflation) end() {
	if z.aside != nil {
		z.aside.stop()
		z.aside = nil
	}
	if z.fl != nil {
		z.fl.src, z.fl.used = nil, nil
		inflaterPool.Put(z.fl)
		z.fl = nil
	}
	z.src.end()
}

// An aside is a goroutine that inflates a message. It and the one that reads
// take turns: only one runs at any time.
type aside struct {
	turn chan struct{} // closed to stop the goroutine
	back chan bool     // true: there is something to read; false: more is wanted

	fl      *inflater
	out     *buffer
	rest    []byte // of out: not read yet
	err     error  // with which the message has ended
	stopped bool
}

func newAside(fl *inflater) *aside {
	a := &aside{turn: make(chan struct{}), back: make(chan bool), fl: fl, out: getBuffer()}
	fl.src.wait = func() bool { return a.yield(false) }
	go a.run()
	return a
}

func (a *aside) run() {
	defer close(a.back)
	<-a.turn // the first comes in any case
	for a.err == nil && !a.stopped {
		var n int
		n, a.err = a.fl.read(a.out[:])
		a.rest = a.out[:n]
		a.yield(true)
	}
}

// yield gives the turn back, and reports whether it came again.
func (a *aside) yield(ready bool) bool {
	if a.stopped {
		return false
	}
	a.back <- ready
	_, ok := <-a.turn
	a.stopped = !ok
	return ok
}

func (a *aside) read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		a.turn <- struct{}{}
		if !<-a.back {
			return 0, errMore
		}
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// stop ends the goroutine, and returns when it has.
func (a *aside) stop() {
	close(a.turn)
	<-a.back
	putBuffer(a.out)
}

// An inflater is what takes much memory, about 75 KiB, and is shared by all
// connections: compress/flate's state and its window.
type inflater struct {
	flate io.ReadCloser
	src   *deflateSource
	past  slidingWindow  // of a message without context takeover
	used  *slidingWindow // past or that of the connection
}

var inflaterPool = sync.Pool{New: func() any {
	return &inflater{flate: flate.NewReader(nil), past: slidingWindow{size: 1 << maxWindowBits}}
}}

func (fl *inflater) begin(src *deflateSource, past *slidingWindow) {
	fl.src, fl.used = src, past
	fl.reset()
}

func (fl *inflater) reset() { fl.flate.(flate.Resetter).Reset(fl.src, fl.used.last()) }

// read reads content of the message into p, at least a byte, or returns io.EOF
// at its end.
func (fl *inflater) read(p []byte) (int, error) {
	for {
		n, err := fl.flate.Read(p)
		fl.used.add(p[:n])
		switch {
		case n > 0:
			return n, nil // the error comes again
		case err == nil:
		case err != io.EOF:
			return 0, badDeflate(err)
		case fl.src.ended():
			return 0, io.EOF
		default:
			// A block with BFINAL was not the message's last one, which is
			// allowed. What follows is another stream, with the same window.
			fl.reset()
		}
	}
}

// badDeflate makes the error for compressed data that is none.
func badDeflate(err error) error {
	msg := "compressed message that ends too early"
	var corrupt flate.CorruptInputError
	if errors.As(err, &corrupt) {
		msg = "compressed message with invalid data"
	}
	return &ProtocolError{Code: StatusInvalidPayload, Rule: ruleInflate, Msg: msg}
}

const ruleInflate = "RFC 7692, section 7.2.2"

// A deflateSource is what compress/flate pulls a message's compressed bytes
// from. They are in buf, or if they are few in carry: so that a connection that
// waits in a message does not hold a buffer for them.
type deflateSource struct {
	wire  []byte // not pulled yet
	final bool   // nothing follows them but the tail
	tail  bool   // wire is what is left of the tail
	some  bool   // there was a byte of the message at all

	wait func() bool // for more, when wire is empty; false: there will be none

	buf   *buffer
	carry [32]byte
}

// room returns where more bytes are to be put, which gather then takes. Unless
// there are none left, none may have been pulled.
func (s *deflateSource) room() []byte {
	if s.buf == nil {
		s.buf = getBuffer()
		s.wire = s.buf[:copy(s.buf[:], s.wire)]
	}
	return s.buf[len(s.wire):]
}

func (s *deflateSource) gather(n int) {
	s.wire = s.buf[:len(s.wire)+n]
	s.some = true
}

func (s *deflateSource) isFull() bool { return len(s.wire) == bufferSize }

// tidy gives the buffer back unless it holds more than a few bytes.
func (s *deflateSource) tidy() {
	if s.buf == nil || len(s.wire) > len(s.carry) {
		return
	}
	s.wire = s.carry[:copy(s.carry[:], s.wire)]
	putBuffer(s.buf)
	s.buf = nil
}

func (s *deflateSource) end() {
	s.wire = nil
	s.tidy()
	s.final, s.tail, s.some, s.wait = false, false, false, nil
}

// ended reports whether the message has no more bytes. It waits to know.
func (s *deflateSource) ended() bool {
	for len(s.wire) == 0 && !s.final {
		if !s.wait() {
			return true
		}
	}
	return len(s.wire) == 0
}

// fill sees to it that there is a byte to pull.
func (s *deflateSource) fill() error {
	for len(s.wire) == 0 {
		switch {
		case !s.final:
			if !s.wait() {
				return io.EOF
			}
		case s.tail:
			return io.EOF
		case s.some:
			s.wire, s.tail = inflateTail, true
		default:
			s.wire, s.tail = emptyTail, true
		}
	}
	return nil
}

func (s *deflateSource) ReadByte() (byte, error) {
	if len(s.wire) == 0 {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	b := s.wire[0]
	s.wire = s.wire[1:]
	return b, nil
}

func (s *deflateSource) Read(p []byte) (int, error) {
	if err := s.fill(); err != nil {
		return 0, err
	}
	n := copy(p, s.wire)
	s.wire = s.wire[n:]
	return n, nil
}

// A slidingWindow is the end of a stream: its last size bytes, and up to an
// eighth more, so as to move them only now and then. It grows with what there
// is to hold.
type slidingWindow struct {
	b    []byte
	size int
}

// last returns the window.
func (w *slidingWindow) last() []byte { return w.b[max(0, len(w.b)-w.size):] }

// add puts p to the end of the stream.
func (w *slidingWindow) add(p []byte) {
	p = p[max(0, len(p)-w.size):]
	most := w.size + w.size/8
	if len(w.b)+len(p) > most {
		w.b = w.b[:copy(w.b, w.b[len(w.b)+len(p)-w.size:])]
	}
	if need := len(w.b) + len(p); need > cap(w.b) {
		w.b = append(make([]byte, 0, min(max(need, 2*cap(w.b)), most)), w.b...)
	}
	w.b = append(w.b, p...)
}
