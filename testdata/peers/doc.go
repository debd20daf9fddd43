// Package peers holds no code but tests: example.com/websocket talking, as
// server and as client, with WebSocket implementations that other people
// wrote. It is a module of its own so that the library needs none of them.
// README.md says how to run the tests and how to add a peer.
package peers
