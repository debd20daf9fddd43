package websocket

import "fmt"

// maxFragments is how many frames one message may have. Empty fragments cost
// their sender next to nothing and never reach a limit in bytes; an honest
// message of [Options.ReadLimit] bytes has far fewer frames.
const maxFragments = 131072

// A sequence knows which frame may come next. It does no I/O: a connection,
// an in-memory pipe and a fuzzer feed it the same way.
type sequence struct {
	server    bool   // we are the server, so the peer must mask
	rsv       byte   // the RSV bits that an extension gave a meaning
	opcode    Opcode // of the message begun and not finished; 0 between messages
	fragments int    // frames of that message so far
}

// next admits the frame with header h or names the rule that forbids it.
// On error s is unchanged and the payload must not be read.
func (s *sequence) next(h Header) error {
	switch {
	case h.Masked != s.server:
		// "A server MUST close the connection upon receiving a frame that is
		// not masked", and a client one that is.
		return violation("5.1", "%v frame: masked=%t, want %t", h.Opcode, h.Masked, s.server)
	case h.Opcode.IsReserved():
		return violation("5.2", "%v is reserved", h.Opcode)
	case h.Rsv&^s.allowedRsv(h.Opcode) != 0:
		return violation("5.2", "%v frame with RSV bits %03b, want %03b at most", h.Opcode, h.Rsv, s.allowedRsv(h.Opcode))
	case h.Opcode.IsControl():
		return s.control(h)
	case h.Opcode == OpContinuation && s.opcode == 0:
		return violation("5.4", "continuation of no message")
	case h.Opcode != OpContinuation && s.opcode != 0:
		return violation("5.4", "%v frame inside a %v message", h.Opcode, s.opcode)
	case s.fragments == maxFragments:
		return &ProtocolError{Code: StatusPolicyViolation, Rule: "10.4", Msg: fmt.Sprintf("more than %d fragments in a message", maxFragments)}
	}
	s.fragments++
	if h.Opcode != OpContinuation {
		s.opcode = h.Opcode
	}
	if h.Fin {
		s.opcode, s.fragments = 0, 0
	}
	return nil
}

// control admits a control frame: "All control frames MUST have a payload
// length of 125 bytes or less and MUST NOT be fragmented."
func (s *sequence) control(h Header) error {
	switch {
	case !h.Fin:
		return violation("5.5", "%v frame without FIN", h.Opcode)
	case h.Length > maxControlPayload:
		return violation("5.5", "%v frame of %d bytes, want %d at most", h.Opcode, h.Length, maxControlPayload)
	}
	return nil
}

// allowedRsv returns the RSV bits that a frame with the opcode may have. An
// extension marks a message on its first frame, and no control frame.
func (s *sequence) allowedRsv(op Opcode) byte {
	if op.IsData() {
		return s.rsv
	}
	return 0
}

// A receiver takes the bytes of one direction and judges them as they come:
// frame by frame which frame it is, and byte by byte what a data message
// holds. It does no I/O and keeps no payload.
//
// Feed it, in turn, with header until that returns a size, and with payload
// until left is 0.
type receiver struct {
	sequence
	limit int64     // bytes that a message may have; negative: no limit
	head  Header    // of the frame under way
	left  int64     // bytes of its payload still to come
	pos   int       // position in its masking key
	begun bool      // a data message has begun and its end was not taken
	kind  Opcode    // of that message: OpText or OpBinary
	size  int64     // bytes of its content so far, or as declared by its frames
	text  validator // its content, if it is text

	// compressed is set if the message is: its payload is not its content
	// then. What that inflates to is judged by content and contentEnd.
	compressed bool

	// discard is set when the rest of the stream is read for its close frame
	// only: the limit and the content of messages do not matter any more.
	discard bool
}

// header reads a frame header from the start of b, as [ParseHeader] does, and
// makes its frame the one under way. On error nothing of it may be delivered.
func (r *receiver) header(b []byte) (n int, err error) {
	h, n, err := ParseHeader(b)
	if n == 0 || err != nil {
		return 0, err
	}
	before := r.sequence
	if err := r.next(h); err != nil {
		return 0, err
	}
	if !h.Opcode.IsControl() {
		if err := r.fragment(h); err != nil {
			r.sequence = before // a Close under way reads the header again
			return 0, err
		}
	}
	r.head, r.left, r.pos = h, h.Length, 0
	if r.left == 0 {
		return n, r.frameEnd()
	}
	return n, nil
}

// fragment counts the data frame with header h into the message under way.
func (r *receiver) fragment(h Header) error {
	if h.Opcode.IsData() {
		r.begun, r.kind, r.size, r.text = true, h.Opcode, 0, validator{}
		r.compressed = h.Rsv&RSV1 != 0
	}
	if r.discard || r.compressed {
		return nil
	}
	// The sum of two lengths may pass 2^63, the difference cannot.
	if r.limit >= 0 && h.Length > r.limit-r.size {
		return fmt.Errorf("%w: a frame of %d bytes after %d, want %d in all at most", ErrMessageTooBig, h.Length, r.size, r.limit)
	}
	if r.size += h.Length; r.size < 0 {
		return fmt.Errorf("%w: more than 2^63 bytes", ErrMessageTooBig)
	}
	return nil
}

// payload takes src, the next bytes of the frame's payload as they are on the
// wire and no more than left, and writes them unmasked to dst, which is as
// long and may be src itself. On error dst may not be delivered.
func (r *receiver) payload(dst, src []byte) error {
	if r.head.Masked {
		r.pos = MaskCopy(dst, src, r.head.Mask, r.pos)
	} else {
		copy(dst, src)
	}
	r.left -= int64(len(src))
	if r.checksText() && !r.text.write(dst[:len(src)]) {
		return notText()
	}
	if r.left == 0 {
		return r.frameEnd()
	}
	return nil
}

// frameEnd judges what only the end of a frame shows.
func (r *receiver) frameEnd() error {
	if r.head.Fin && r.checksText() && !r.text.done() {
		return cutText()
	}
	return nil
}

// checksText reports whether the frame under way carries text as it is.
func (r *receiver) checksText() bool {
	return r.kind == OpText && !r.head.Opcode.IsControl() && !r.compressed && !r.discard
}

func notText() error { return invalidText("8.1", "text message with bytes that are not UTF-8") }
func cutText() error { return invalidText("8.1", "text message that ends inside a code point") }

// content judges p, the next bytes of the content of a compressed message. On
// error p may not be delivered.
func (r *receiver) content(p []byte) error {
	if r.limit >= 0 && int64(len(p)) > r.limit-r.size {
		return fmt.Errorf("%w: a compressed message of more than %d bytes", ErrMessageTooBig, r.limit)
	}
	r.size += int64(len(p))
	if r.kind == OpText && !r.text.write(p) {
		return notText()
	}
	return nil
}

// contentEnd judges what only the end of a compressed message shows.
func (r *receiver) contentEnd() error {
	if r.kind == OpText && !r.text.done() {
		return cutText()
	}
	return nil
}

// atEnd reports whether a message has begun and all its frames have come. The
// sequence is between messages from the header of the final frame on.
func (r *receiver) atEnd() bool {
	return r.begun && r.opcode == 0 && r.left == 0
}
