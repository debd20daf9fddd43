package websocket

import "unicode/utf8"

// A validator checks text that arrives in pieces, cut anywhere. It fails in
// the piece that holds the first byte which no further byte can make right:
// the peer then hears of it at once, not at the end of its message. The zero
// value is ready for a new text. See RFC 6455, section 8.1.
type validator struct {
	start [utf8.UTFMax]byte // a code point that has begun and is not complete
	n     int               // how many bytes of start count
}

// write checks p, the next piece, and reports whether the text can still
// become valid.
func (v *validator) write(p []byte) bool {
	for v.n > 0 && len(p) > 0 {
		v.start[v.n] = p[0]
		v.n++
		p = p[1:]
		// A start that cannot be continued counts as full, and is not valid.
		if !utf8.FullRune(v.start[:v.n]) {
			continue
		}
		if !utf8.Valid(v.start[:v.n]) {
			return false
		}
		v.n = 0
	}
	whole := wholeRunes(p)
	v.n += copy(v.start[v.n:], p[whole:])
	return utf8.Valid(p[:whole])
}

// done reports whether the text is complete, and readies v for another.
func (v *validator) done() bool {
	complete := v.n == 0
	v.n = 0
	return complete
}

// wholeRunes returns how much of p is left when a code point that its end
// cuts off is taken away. Such a one has three bytes at most.
func wholeRunes(p []byte) int {
	for i := len(p) - 1; i >= 0 && i >= len(p)-(utf8.UTFMax-1); i-- {
		if !utf8.RuneStart(p[i]) {
			continue
		}
		if !utf8.FullRune(p[i:]) {
			return i
		}
		break
	}
	return len(p)
}
