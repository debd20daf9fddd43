// Package websocket is RFC 6455, the WebSocket protocol, on the standard
// library alone: for servers that embed it in net/http handlers, for clients,
// and for readers who want to learn the protocol from its source.
//
// # A server
//
// [Upgrade] turns an HTTP request into a connection. What it refuses it has
// answered already; all that is left to the handler is to return.
//
//	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
//		c, err := websocket.Upgrade(w, r)
//		if err != nil {
//			return
//		}
//		defer c.CloseNow()
//		for m, err := range c.Messages(c.Context()) {
//			if err != nil {
//				return
//			}
//			if err := c.WriteMessage(c.Context(), m.Opcode, m.Data); err != nil {
//				return
//			}
//		}
//	})
//
// An [Upgrader] holds what goes beyond that: further origins, subprotocols,
// response headers and the [Options] that clients have, too. Headers for one
// response only, a cookie say, are set on the ResponseWriter before the
// upgrade. Do not use the request's context on the connection: net/http ends
// it when the handler returns. [Conn.Context] has the same values and ends
// with the connection. net/http recovers a handler that panics, but does not
// close a connection it has given away: keep the deferred CloseNow.
//
// # A client
//
//	c, _, err := websocket.Dial(ctx, "wss://example.com/ws")
//	if err != nil {
//		return err
//	}
//	defer c.CloseNow()
//	if err := c.WriteText(ctx, "hello"); err != nil {
//		return err
//	}
//	_, reply, err := c.ReadMessage(ctx)
//	if err != nil {
//		return err
//	}
//	fmt.Printf("%s\n", reply)
//	return c.Close(websocket.StatusNormalClosure, "")
//
// A [Dialer] has an *http.Client, and with it all that net/http can do on the
// way to a server: proxies, TLS settings, cookies, redirects.
//
// # Reading
//
// There are four ways to read messages, of which one goroutine at a time may
// use one. [Conn.Messages] is the loop above and right for most: it holds
// memory only while the loop's body runs. [Conn.ReadMessage] returns a slice
// that is yours. [Conn.AppendMessage] reads into a slice of yours and does not
// allocate if the message fits. [Conn.NextReader] hands out a message as a
// stream, before all of it has come.
//
// A read that its context cuts short loses nothing: the part of a message that
// has arrived stays in the connection, and the next read goes on from there.
// So a read with a timeout is a way to look whether there is a message.
//
// Text is checked to be UTF-8 while it arrives, and nothing is delivered from
// a frame that breaks the protocol.
//
// # Writing
//
// Any number of goroutines may write. [Conn.WriteMessage] and [Conn.WriteText]
// send a message in one frame; they return when the operating system has taken
// it. [Conn.NextWriter] sends one in fragments, for data that is produced
// bit by bit or too large to be held. [Prepare] and [Conn.WritePrepared] send
// the same message to many connections and encode it once.
//
// A peer that does not read stops the writers: after [Options.WriteTimeout]
// they fail. Before its first byte has left, a write can be cancelled and the
// connection goes on; after that, the stream is torn and the connection lost.
//
// # Compression
//
// [Options.Compression] turns permessage-deflate (RFC 7692) on, if the peer
// wants it, too: messages are then compressed one by one. With context takeover,
// which is the default, a message may refer to those before it, so that even
// small ones shrink: JSON objects of 114 bytes, of one shape, to 30 %. That
// takes 17 KiB for each connection; without takeover a connection holds nothing,
// and only messages of some hundred bytes and more are worth the effort.
// [Compression] says what each setting holds and does.
//
// Reading and writing stay as they are. A limit is one of bytes after inflation,
// which stops as soon as it is passed. [Conn.NextReader] delivers a compressed
// message fragment by fragment, or 16 KiB by 16 KiB of its compressed bytes.
//
// # Control frames and keep-alive
//
// Pings are answered, pongs taken and the peer's close frame seen while a
// goroutine reads. So read, even if no message is expected:
//
//	for range c.Messages(ctx) {
//	}
//
// [Options.KeepAlive] sends pings to a silent peer and ends the connection
// when it stays silent. [Conn.Ping] measures the round trip.
//
// # Closing
//
// [Conn.Close] performs the closing handshake and is bounded by
// [Options.CloseTimeout]; [Conn.CloseNow] just ends the connection. When the
// peer closes, its close frame is answered by the read that meets it. In both
// cases, and when a peer is thrown out for what it sent, our close frame is
// followed by FIN and what still comes is read and dropped for a while: a
// socket closed with input unread would send a reset, and the peer might never
// see why.
//
// A method that meets the end of the connection returns when the end is over,
// not when it begins. A handler that then returns, and runs its deferred
// CloseNow, cuts nothing off.
//
// # Errors
//
// Every error says what was expected and what came, and which of these it is:
//
//	peer closed, connection lost   *CloseError (lost: code 1006, unwraps to the cause)
//	this side closed               net.ErrClosed
//	peer broke the protocol        *ProtocolError, with the section of the RFC
//	message over the limit         ErrMessageTooBig
//	opening handshake failed       *HandshakeError
//	context ended, deadline        the context's error, os.ErrDeadlineExceeded
//
// Use [errors.As] and [errors.Is], in this order: a *CloseError with code 1006
// may wrap a deadline that had passed. After the last kind the connection goes
// on; the others are final, come again from every method, and are the cause of
// the connection's context.
//
// # Concurrency
//
// Every method of a [Conn] may be called from any goroutine at any time.
// Writers wait for each other, as long as their contexts last; a second reader
// gets an error; [Conn.CloseNow] cuts all of them short. An [Upgrader], a
// [Dialer] and a [Prepared] serve any number of goroutines if they are not
// modified. A [MessageWriter], and the reader that NextReader returns, belong
// to one goroutine.
//
// # Origins
//
// A browser lets any page open a WebSocket to any server and sends the
// server's cookies along. The Origin header is the only sign of who asks. So
// by default a browser's request is accepted only from pages of the same host
// and port; [Upgrader.Origins] lists others. Requests without an Origin are
// not from a browser's page and are accepted.
//
// # What a peer can do to you
//
// Bounds that hold without any setting:
//
//	size of a message              16 MiB, then 1009     Options.ReadLimit
//	fragments of a message         131,072, then 1008
//	memory for a message           four times what has arrived, and 1 KiB; in Messages 16 KiB
//	while one is inflated          100 KiB more, from a pool; between, see Compression
//	buffer of an idle connection   none on a Unix socket, else 512 bytes
//	pongs owed                     1, for the newest ping
//	time to take one of our frames 10 s                  Options.WriteTimeout
//	time to answer our close       5 s                   Options.CloseTimeout
//	bytes dropped after our close  4 MiB; in Close, what comes in CloseTimeout
//	opening handshake, client      30 s                  Dialer.HandshakeTimeout
//	opening handshake, server      set http.Server's ReadHeaderTimeout
//
// There is no bound on how long a peer may be silent: set [Options.KeepAlive].
//
// # Without a connection
//
// [Header], [ParseHeader], [AppendHeader], [ReadHeader], [Mask] and
// [ParseClosePayload] are the codec alone, for proxies, sniffers and lessons.
// Most programs never need them.
//
// # Tests
//
// [Pipe] returns the two ends of a connection in memory, for tests of your own
// code; it works with testing/synctest.
package websocket
