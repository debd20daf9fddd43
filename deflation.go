package websocket

// A deflation compresses the messages that a connection sends, as was agreed
// on. With context takeover it holds a deflater from the first of them on.
type deflation struct {
	agreed *Compression
	kept   *deflater
}

// wants reports whether a message of size bytes is worth a try.
func (z *deflation) wants(size int) bool { return z != nil && size >= z.agreed.Threshold }

// deflate appends a compressed message to dst.
func (z *deflation) deflate(dst, message []byte) []byte {
	d := z.borrow(len(message))
	defer z.giveBack(d)
	return d.flush(d.write(dst, message))
}

// remember makes a message, which has been sent, something that later ones may
// refer to. If none was compressed so far, none will refer to this one, nor to
// what came before it: then nothing need be held.
func (z *deflation) remember(message []byte) {
	if z.kept != nil {
		z.kept.remember(message)
	}
}

// borrow returns the deflater for a message of about size bytes.
func (z *deflation) borrow(size int) *deflater {
	d := z.kept
	if z.agreed.NoWriteTakeover {
		d = getDeflater(z.agreed.WriteWindowBits, size)
	} else if d == nil {
		d = newDeflater(z.agreed.WriteWindowBits)
		z.kept = d
	}
	d.thorough = z.agreed.Thorough
	return d
}

// giveBack ends the use of a deflater.
func (z *deflation) giveBack(d *deflater) {
	if z.agreed.NoWriteTakeover {
		putDeflater(d)
	}
}
