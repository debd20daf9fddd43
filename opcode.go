package websocket

import "fmt"

// An Opcode says what a frame carries. Only the low four bits exist on the
// wire. See RFC 6455, section 5.2.
type Opcode byte

// The opcodes that RFC 6455 defines. The others are reserved: a frame that
// carries one fails the connection with [StatusProtocolError].
const (
	OpContinuation Opcode = 0x0 // a further fragment of the message under way
	OpText         Opcode = 0x1 // UTF-8 text
	OpBinary       Opcode = 0x2 // any bytes
	OpClose        Opcode = 0x8 // starts or answers the closing handshake
	OpPing         Opcode = 0x9 // asks for a pong
	OpPong         Opcode = 0xA // answers a ping, or comes unasked
)

// IsControl reports whether op is one of the control opcodes 0x8 to 0xF,
// reserved ones included: at most 125 bytes, never fragmented, allowed between
// the fragments of a message. See RFC 6455, section 5.5.
func (op Opcode) IsControl() bool { return op&0x8 != 0 }

// IsData reports whether op begins a message of the application: [OpText] or
// [OpBinary]. See RFC 6455, section 5.6.
func (op Opcode) IsData() bool { return op == OpText || op == OpBinary }

// IsReserved reports whether RFC 6455 leaves op without a meaning.
func (op Opcode) IsReserved() bool { return op&0x7 > OpBinary || op > 0xF }

// String returns the RFC's name for op, or its number if it is reserved.
func (op Opcode) String() string {
	switch op {
	case OpContinuation:
		return "continuation"
	case OpText:
		return "text"
	case OpBinary:
		return "binary"
	case OpClose:
		return "close"
	case OpPing:
		return "ping"
	case OpPong:
		return "pong"
	}
	return fmt.Sprintf("opcode %#x", byte(op))
}
