package proto

import "math/bits"

// Anomaly is an oddity of traffic: something malformed, contradictory or suspicious that was
// nevertheless understood, or the reason why it wasn't.
type Anomaly uint8

// Anomalies is a set of anomalies.
type Anomalies uint64

// The anomalies. Their names and meanings are in the table below.
const (
	LineEndLF Anomaly = iota
	ObsFold
	SpaceBeforeColon
	BadFieldName
	FieldWithoutColon
	ControlInField
	LeadingEmptyLine
	DuplicateLength
	ConflictingLength
	BadLength
	LengthAndChunked
	ChunkedNotLast
	UnknownTransferCoding
	TransferCodingInHTTP10
	BadChunkSize
	BadChunkEnd
	ChunkExtension
	BadTrailer
	HTTP09
	BadVersion
	BadStatus
	BadStartLine
	SpacesInTarget
	DuplicateHost
	MissingHost
	HeadTooLarge
	TooManyFields
	EarlyResponse
	SurplusBytes
	ResponseWithoutRequest
	AmbiguousPairing
	BodyOnNoBody
	OverlapDiffers
	BadContentCoding
	DecompressionLimit
	EndedWithoutLastChunk
	ControlInTarget
	HeaderTableUnknown
	HeaderBlockTooLarge
	BadHeaderBlock
	BadFrame
	FrameTooLarge
	StreamLimit
	FloodOfFrames
	BadPseudoHeader
	WindowExceeded
	LengthDiffers
	BadMessageFraming
	MessageTooLarge
	UnmaskedClient
	MaskedServer
	BadText
	CompressionContextLost
	StatementCut
	BadValue
	StatementUnknown
	ClosedBeforeAnswer
	UnexpectedAnswer
	numAnomalies
)

// AnomalyInfo is what users read about an anomaly.
type AnomalyInfo struct{ Name, Meaning string }

// AnomalyTable describes each Anomaly, by its number.
var AnomalyTable = [numAnomalies]AnomalyInfo{
	LineEndLF:              {"line-end-lf", "a line ends with a bare LF instead of CRLF"},
	ObsFold:                {"obs-fold", "a header value goes on over the next line (RFC 9112 §5.2)"},
	SpaceBeforeColon:       {"space-before-colon", "white space between a header name and its colon (RFC 9112 §5.1)"},
	BadFieldName:           {"bad-field-name", "a header name has characters that aren't allowed, or is empty"},
	FieldWithoutColon:      {"field-without-colon", "a header line has no colon"},
	ControlInField:         {"control-in-field", "a header value holds control characters"},
	LeadingEmptyLine:       {"leading-empty-line", "empty lines before the start line (RFC 9112 §2.2)"},
	DuplicateLength:        {"duplicate-length", "Content-Length is given more than once, with one value"},
	ConflictingLength:      {"conflicting-length", "Content-Length is given with different values (request smuggling)"},
	BadLength:              {"bad-length", "Content-Length isn't a number"},
	LengthAndChunked:       {"length-and-chunked", "both Content-Length and Transfer-Encoding (request smuggling, RFC 9112 §6.1)"},
	ChunkedNotLast:         {"chunked-not-last", "chunked isn't the last transfer coding"},
	UnknownTransferCoding:  {"unknown-transfer-coding", "a transfer coding that isn't known"},
	TransferCodingInHTTP10: {"transfer-coding-in-http10", "Transfer-Encoding in an HTTP/1.0 message"},
	BadChunkSize:           {"bad-chunk-size", "a chunk size isn't a hexadecimal number, or is too large"},
	BadChunkEnd:            {"bad-chunk-end", "a chunk isn't followed by CRLF"},
	ChunkExtension:         {"chunk-extension", "chunks carry extensions (RFC 9112 §7.1.1)"},
	BadTrailer:             {"bad-trailer", "a trailer line is malformed"},
	HTTP09:                 {"http-0.9", "an HTTP/0.9 request: no version, no headers"},
	BadVersion:             {"bad-version", "the protocol version is malformed or unknown"},
	BadStatus:              {"bad-status", "the status isn't a three-digit number"},
	BadStartLine:           {"bad-start-line", "the start line is malformed"},
	SpacesInTarget:         {"spaces-in-target", "the request target holds white space"},
	DuplicateHost:          {"duplicate-host", "more than one Host header"},
	MissingHost:            {"missing-host", "an HTTP/1.1 request without Host"},
	HeadTooLarge:           {"head-too-large", "the head exceeds the limit (max head)"},
	TooManyFields:          {"too-many-fields", "more header fields than the limit (max fields)"},
	EarlyResponse:          {"early-response", "the response began before the request had ended"},
	SurplusBytes:           {"surplus-bytes", "bytes that belong to no message"},
	ResponseWithoutRequest: {"response-without-request", "a response for which no request was seen"},
	AmbiguousPairing:       {"ambiguous-pairing", "lost bytes leave open which request a response answers"},
	BodyOnNoBody:           {"body-on-no-body", "a body where there must be none (204, 304, HEAD)"},
	OverlapDiffers:         {"overlap-differs", "a retransmission carries other bytes than the first copy"},
	BadContentCoding:       {"bad-content-coding", "the body isn't what its Content-Encoding says"},
	DecompressionLimit:     {"decompression-limit", "the decoded body exceeds the limit (max body)"},
	EndedWithoutLastChunk:  {"ended-without-last-chunk", "the connection was closed in the middle of a chunked body"},
	ControlInTarget:        {"control-in-target", "the request target holds control or non-ASCII bytes"},
	HeaderTableUnknown:     {"header-table-unknown", "header fields refer to a table whose beginning wasn't captured (HPACK); they are shown as ?"},
	HeaderBlockTooLarge:    {"header-block-too-large", "a header block exceeds the limit (max head), sent or decompressed"},
	BadHeaderBlock:         {"bad-header-block", "a header block can't be decompressed (RFC 7541)"},
	BadFrame:               {"bad-frame", "a frame is malformed, or isn't allowed where it stands"},
	FrameTooLarge:          {"frame-too-large", "a frame is larger than its receiver allowed"},
	StreamLimit:            {"stream-limit", "more streams, or pipelined commands, at a time than the limit (max streams)"},
	FloodOfFrames:          {"flood-of-frames", "frames that make work and carry nothing, over and over"},
	BadPseudoHeader:        {"bad-pseudo-header", "a pseudo-header is unknown, twice there, missing or out of place (RFC 9113 §8.3)"},
	WindowExceeded:         {"window-exceeded", "more was sent than the receiver's flow-control window allowed"},
	LengthDiffers:          {"length-differs", "the body isn't as long as Content-Length says"},
	BadMessageFraming:      {"bad-message-framing", "the messages within a body or a WebSocket are malformed"},
	MessageTooLarge:        {"message-too-large", "a message exceeds the limit (max message), sent or decompressed"},
	UnmaskedClient:         {"unmasked-client", "a WebSocket frame of the client isn't masked (RFC 6455 §5.1)"},
	MaskedServer:           {"masked-server", "a WebSocket frame of the server is masked (RFC 6455 §5.1)"},
	BadText:                {"bad-text", "a text message isn't UTF-8"},
	CompressionContextLost: {"compression-context-lost", "a compressed message refers to one that wasn't captured"},
	StatementCut:           {"statement-cut", "a statement or command is longer than the limit (max statement); its beginning is shown"},
	BadValue:               {"bad-value", "a value within a message contradicts its length or its type"},
	StatementUnknown:       {"statement-unknown", "a prepared statement was made before the capture, or in bytes that are missing; its text isn't known"},
	ClosedBeforeAnswer:     {"closed-before-answer", "the client had closed its side when the answer began: it may have given up"},
	UnexpectedAnswer:       {"unexpected-answer", "a DNS answer to no open question: its id is that of another one, or the question had its answer (forged, late or sent twice)"},
}

// Set adds an anomaly.
func (s *Anomalies) Set(a Anomaly) { *s |= 1 << a }

// Has reports whether the set holds an anomaly.
func (s Anomalies) Has(a Anomaly) bool { return s&(1<<a) != 0 }

// Each calls f for each anomaly of the set, lowest first.
func (s Anomalies) Each(f func(Anomaly)) {
	for s != 0 {
		f(Anomaly(bits.TrailingZeros64(uint64(s))))
		s &= s - 1
	}
}

func (a Anomaly) String() string { return AnomalyTable[a].Name }
