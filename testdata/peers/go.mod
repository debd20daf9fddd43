module example.com/websocket/testdata/peers

go 1.26

require (
	example.com/websocket v0.0.0
	github.com/coder/websocket v1.8.15
	github.com/gobwas/httphead v0.1.0
	github.com/gobwas/ws v1.5.0
	github.com/gorilla/websocket v1.5.3
	github.com/lxzan/gws v1.10.1
)

require github.com/klauspost/compress v1.17.9

replace example.com/websocket => ../..
