package http2

// wanted is what the cases give, by their names; see prototest.Recorder.Text.
var wanted = map[string]string{
	"get": `
>1 request GET /a?b=c HTTP/2 at 42 head 27 none
>1   :method: GET
>1   :scheme: http
>1   :authority: a.example
>1   :path: /a?b=c
>1 end whole size 27 body 0
<1 response 200 HTTP/2 at 18 head 19 stream
<1   :status: 200
<1   content-type: text/plain
<1 "hello"
<1 end whole size 33 body 5
`,
	"interleaved": `
>1 request GET /1 HTTP/2 at 42 head 24 none
>1   :method: GET
>1   :scheme: http
>1   :authority: a.example
>1   :path: /1
>1 end whole size 24 body 0
>3 request GET /3 HTTP/2 at 66 head 16 none
>3   :method: GET
>3   :scheme: http
>3   :authority: a.example
>3   :path: /3
>3 end whole size 16 body 0
>5 request POST /5 HTTP/2 at 82 head 19 length 6
>5   :method: POST
>5   :scheme: http
>5   :authority: a.example
>5   :path: /5
>5   content-length: 6
>5 "abc"
<3 response 200 HTTP/2 at 18 head 13 length 4
<3   :status: 200
<3   content-length: 4
<1 response 404 HTTP/2 at 31 head 10 stream
<1   :status: 404
<1 "no"
<3 "ab"
<1 "pe"
<1 end whole size 32 body 4
<3 "cd"
<3 end whole size 35 body 4
>5 "def"
>5 end whole size 43 body 6
<5 response 204 HTTP/2 at 85 head 19 none
<5   :status: 204
<5   content-type: text/plain
<5 end whole size 19 body 0
`,
	"padded": `
>1 request POST / HTTP/2 at 42 head 25 stream
>1   :method: POST
>1   :scheme: http
>1   :path: /
>1 "abc"
>1 end whole size 60 body 3
<1 response 200 HTTP/2 at 18 head 19 stream
<1   :status: 200
<1   content-type: text/plain
<1 "x"
<1 end whole size 29 body 1
`,
	"continuation and trailers": `
>1 request POST /long HTTP/2 at 42 head 73 stream
>1   :method: POST
>1   :scheme: http
>1   :authority: a.example
>1   :path: /long
>1   x-long: 0123456789abcdef
>1 "abc"
>1 end whole size 102 body 3
>1   x-sum: 1
<1 response 200 HTTP/2 at 18 head 23 stream
<1   :status: 200
<1   content-type: application/grpc
<1 "\x00\x00\x00\x00\x03abc"
<1 end whole size 72 body 8
<1   grpc-status: 0
<1   x-secret: no
`,
	"interim": `
>1 request PUT / HTTP/2 at 42 head 26 stream
>1   :method: PUT
>1   :scheme: http
>1   :path: /
>1   expect: 100-continue
<1 interim 100 HTTP/2 at 18 head 13 none
<1   :status: 100
<1 end whole size 13 body 0
<1 interim 103 HTTP/2 at 31 head 16 none
<1   :status: 103
<1   link: x
<1 end whole size 16 body 0
>1 "abc"
>1 end whole size 38 body 3
<1 response 201 HTTP/2 at 47 head 22 none
<1   :status: 201
<1   content-type: text/plain
<1 end whole size 22 body 0
`,
	"head": `
>1 request HEAD / HTTP/2 at 42 head 17 none
>1   :method: HEAD
>1   :scheme: http
>1   :path: /
>1 end whole size 17 body 0
<1 response 200 HTTP/2 at 18 head 14 none
<1   :status: 200
<1   content-length: 500
<1 end whole size 14 body 0
>3 request HEAD / HTTP/2 at 59 head 12 none
>3   :method: HEAD
>3   :scheme: http
>3   :path: /
>3 end whole size 12 body 0
<3 response 200 HTTP/2 at 32 head 11 none
<3   :status: 200
<3   content-length: 500
<3 end whole size 20 body 0
`,
	"push": `
>1 request GET / HTTP/2 at 42 head 21 none
>1   :method: GET
>1   :scheme: http
>1   :authority: a.example
>1   :path: /
>1 end whole size 21 body 0
<2 request GET /style.css HTTP/2 at 18 head 37 none
<2   :method: GET
<2   :scheme: http
<2   :authority: a.example
<2   :path: /style.css
<2 end whole size 37 body 0
<1 response 200 HTTP/2 at 55 head 19 stream
<1   :status: 200
<1   content-type: text/plain
<1 "x"
<1 end whole size 29 body 1
<2 response 200 HTTP/2 at 84 head 11 stream
<2   :status: 200
<2   content-type: text/plain
<2 "css"
<2 end whole size 23 body 3
`,
	"reset": `
>1 request GET /1 HTTP/2 at 42 head 24 none
>1   :method: GET
>1   :scheme: http
>1   :authority: a.example
>1   :path: /1
>1 end whole size 24 body 0
>3 request GET /3 HTTP/2 at 66 head 16 none
>3   :method: GET
>3   :scheme: http
>3   :authority: a.example
>3   :path: /3
>3 end whole size 16 body 0
>5 request POST /5 HTTP/2 at 82 head 15 stream
>5   :method: POST
>5   :scheme: http
>5   :path: /5
>5 "abc"
abort 1 by responder REFUSED_STREAM
<3 response 200 HTTP/2 at 31 head 10 stream
<3   :status: 200
<3 "ab"
<3 end cut size 21 body 2 stream-reset
abort 3 by originator CANCEL
<5 response 413 HTTP/2 at 81 head 23 none
<5   :status: 413
<5   content-type: text/plain
<5 end whole size 23 body 0
>5 end cut size 27 body 3 stream-reset
abort 5 by responder NO_ERROR
`,
	"goaway": `
>1 request GET /1 HTTP/2 at 42 head 24 none
>1   :method: GET
>1   :scheme: http
>1   :authority: a.example
>1   :path: /1
>1 end whole size 24 body 0
>3 request GET /3 HTTP/2 at 66 head 16 none
>3   :method: GET
>3   :scheme: http
>3   :authority: a.example
>3   :path: /3
>3 end whole size 16 body 0
abort 3 by responder ENHANCE_YOUR_CALM goaway
>5 request GET /5 HTTP/2 at 82 head 16 none
>5   :method: GET
>5   :scheme: http
>5   :authority: a.example
>5   :path: /5
>5 end whole size 16 body 0
abort 5 by responder ENHANCE_YOUR_CALM goaway
<1 response 200 HTTP/2 at 44 head 19 stream
<1   :status: 200
<1   content-type: text/plain
<1 "ok"
<1 end whole size 30 body 2
`,
	"connect": `
>1 request CONNECT b.example:443 HTTP/2 at 42 head 30 tunnel
>1   :method: CONNECT
>1   :authority: b.example:443
<1 response 200 HTTP/2 at 18 head 10 stream
<1   :status: 200
>1 end upgraded size 44 body 0
<1 end upgraded size 10 body 0
`,
	"connect refused": `
>1 request CONNECT b.example:443 HTTP/2 at 42 head 30 tunnel
>1   :method: CONNECT
>1   :authority: b.example:443
<1 response 403 HTTP/2 at 18 head 23 stream
<1   :status: 403
<1   content-type: text/plain
>1 "early"
<1 "no"
<1 end whole size 34 body 2
>1 "more"
>1 end whole size 57 body 9
`,
	"websocket": `
>1 request CONNECT /chat HTTP/2 at 42 head 51 tunnel
>1   :method: CONNECT
>1   :protocol: websocket
>1   :scheme: http
>1   :path: /chat
>1   :authority: a.example
<1 response 200 HTTP/2 at 18 head 10 stream
<1   :status: 200
>1 end upgraded size 51 body 0
<1 end upgraded size 10 body 0
`,
	"odd": `
>1 request GET /a b HTTP/2 at 42 head 37 none [bad-field-name spaces-in-target bad-pseudo-header]
>1   :method: GET
>1   :scheme: http
>1   :path: /a b
>1   X-Upper: 1
>1   :late: x
>1   content-length: 3
>1 end whole size 37 body 0 [bad-field-name spaces-in-target bad-pseudo-header length-differs]
>3 request GET /3 HTTP/2 at 137 head 24 none [bad-frame]
>3   :method: GET
>3   :scheme: http
>3   :authority: a.example
>3   :path: /3
>3 end whole size 24 body 0 [bad-frame]
<1 response 0 HTTP/2 at 18 head 20 length 5 [conflicting-length bad-status]
<1   :status: 20x
<1   content-length: 5
<1   content-length: 6
<1 "abc"
<1 end whole size 32 body 3 [conflicting-length bad-status length-differs]
<3 response 200 HTTP/2 at 50 head 11 length 5
<3   :status: 200
<3   content-length: 5
<3 "abc"
<3 end whole size 23 body 3 [length-differs]
`,
	"cut off block": `
>1 request GET /cut HTTP/2 at 42 head 27 none [bad-header-block]
>1   :method: GET
>1   :scheme: http
>1   :path: /cut
>1 end broken size 27 body 0 [bad-header-block]
>3 request GET /3 HTTP/2 at 69 head 24 none
>3   :method: GET
>3   :scheme: http
>3   :authority: a.example
>3   :path: /3
>3 end whole size 24 body 0
>5 request GET /left HTTP/2 at 93 head 31 none [bad-frame]
>5   :method: GET
>5   :scheme: http
>5   :path: /left
>5   x-b: 0123456789
>5 end broken size 31 body 0 [bad-frame]
>7 request GET /7 HTTP/2 at 124 head 16 none [header-table-unknown]
>7   :method: GET
>7   :scheme: http
>7   ?: ?
>7   :path: /7
>7 end whole size 16 body 0 [header-table-unknown]
<3 response 200 HTTP/2 at 18 head 19 stream
<3   :status: 200
<3   content-type: text/plain
<3 "x"
<3 end whole size 29 body 1
`,
	"limits": `
>1 request GET /1 HTTP/2 at 42 head 40 none [too-many-fields]
>1   :method: GET
>1   :scheme: http
>1   :path: /1
>1   a: 1
>1   b: 2
>1   c: 3
>1 end whole size 40 body 0 [too-many-fields]
>3 request GET /3 HTTP/2 at 82 head 170 none [control-in-field header-block-too-large]
>3   :method: GET
>3   :scheme: http
>3   :path: /3
>3 end whole size 170 body 0 [control-in-field header-block-too-large]
>5 request GET /5 HTTP/2 at 252 head 15 none
>5   :method: GET
>5   :scheme: http
>5   :path: /5
>5 end whole size 15 body 0
<1 response 200 HTTP/2 at 18 head 19 stream
<1   :status: 200
<1   content-type: text/plain
<1 "hel"
<1 end whole size 33 body 5
<3 response 200 HTTP/2 at 51 head 11 stream
<3   :status: 200
<3   content-type: text/plain
<3 "hel"
<3 end whole size 25 body 5
<5 response 200 HTTP/2 at 76 head 11 stream
<5   :status: 200
<5   content-type: text/plain
<5 "hel"
<5 end whole size 25 body 5
>7 request GET /7 HTTP/2 at 267 head 24 none
>7   :method: GET
>7   :scheme: http
>7   :authority: a.example
>7   :path: /7
>7 end whole size 24 body 0
<7 response 200 HTTP/2 at 101 head 11 none
<7   :status: 200
<7   content-type: text/plain
<7 end whole size 11 body 0
`,
	"resumed at the beginning": `
resumed
>1 request GET /1 HTTP/2 at 42 head 23 none
>1   :method: GET
>1   :scheme: http
>1   :path: /1
>1   x-a: aaa
>1 end whole size 23 body 0
>3 request GET /3 HTTP/2 at 65 head 24 none
>3   :method: GET
>3   :scheme: http
>3   :authority: a.example
>3   :path: /3
>3 end whole size 24 body 0
>5 request GET /5 HTTP/2 at 89 head 16 none
>5   :method: GET
>5   :scheme: http
>5   :path: /5
>5   x-a: aaa
>5 end whole size 16 body 0
<3 response 200 HTTP/2 at 18 head 19 stream
<3   :status: 200
<3   content-type: text/plain
<3 "x"
<3 end whole size 29 body 1
`,
	"resumed": `
resumed
<9 response 200 HTTP/2 at 0 head 12 stream [header-table-unknown]
<9   :status: 200
<9   ?: ?
<9   ?: ?
<9 "ok"
<9 end whole size 23 body 2 [header-table-unknown]
>11 request GET /x HTTP/2 at 12 head 16 none [header-table-unknown]
>11   :method: GET
>11   :scheme: http
>11   ?: ?
>11   :path: /x
>11 end whole size 16 body 0 [header-table-unknown]
<11 response 0 HTTP/2 at 23 head 11 none [header-table-unknown]
<11   ?: ?
<11   ?: ?
<11 end whole size 11 body 0 [header-table-unknown]
>13 request GET /x HTTP/2 at 41 head 13 none [header-table-unknown]
>13   :method: GET
>13   :scheme: http
>13   :path: /x
>13   ?: ?
>13 end whole size 13 body 0 [header-table-unknown]
`,
}
