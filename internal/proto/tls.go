package proto

import "github.com/culprit-http/culprit/internal/clock"

// TLS are the facts of a TLS session, as far as they are known. Who makes one never changes it once it was given to
// a Sink, so that exchanges may point to it from any goroutine: when more is known, there is another.
//
// Versions, cipher suites, groups and alerts are the numbers of the protocol (RFC 8446, IANA's registries); package
// tls names them.
type TLS struct {
	// Client is the direction of the ClientHello.
	Client Direction
	// Version is the version in use, 0 as long as the server hasn't chosen; Offered is the highest that the client offered.
	Version, Offered uint16
	// Suite is the cipher suite in use, Group the group of the key exchange; 0 when not known. Names hold the texts of Suite and Group.
	Suite, Group         uint16
	SuiteName, GroupName string
	// OfferedSuites are those of the client, in its order.
	OfferedSuites []uint16
	// ServerName is the name that the client asked for (SNI), empty if it gave none.
	ServerName string
	// ALPN is the protocol that the two agreed on, empty if none or not known; OfferedALPN what the client offered.
	ALPN        string
	OfferedALPN []string
	// JA3, JA3S and JA4 are fingerprints of the hellos: MD5 in hexadecimal, and the form of the JA4 specification.
	JA3, JA3S, JA4 string
	// Random is the client random, which names the session in key logs, valid iff HasRandom.
	Random    [32]byte
	HasRandom bool
	// Resumption says how an earlier session was taken up again: empty for not at all or not known, or id, ticket, psk.
	Resumption string
	// Retry: the server asked for another ClientHello. EarlyData says what became of data in the first flight: empty, or
	// offered, accepted, rejected.
	Retry     bool
	EarlyData string
	// Established: the handshake was completed, as far as can be seen.
	Established bool
	// ServerChain and ClientChain are the certificates that were seen, the end's own first.
	ServerChain, ClientChain []*Certificate
	// Alerts are those that were seen, at most MaxAlerts.
	Alerts []Alert
	// Renegotiations and KeyUpdates count what changed the keys.
	Renegotiations, KeyUpdates int

	// Hello marks the first byte of the ClientHello; Answered is the time of the first byte of the server's answer, Finished
	// that of the last byte of the handshake, in nanoseconds since 1970; 0 when not seen. TurnTime is how long each side took
	// to answer the other during the handshake, summed up, as the tap sees it, so with the round trips between the tap and
	// that side; Turns counts those answers.
	Hello              clock.Mark
	Answered, Finished int64
	TurnTime           [2]int64
	Turns              [2]int

	// Decrypted: keys were found, and what came after the handshake was read. Reason says why not, in a few words, empty as
	// long as there is none. LostRecords counts records that couldn't be read among others that could.
	Decrypted bool
	Reason    string
	// Failure says why the handshake failed, in a few words, empty if it didn't as far as can be seen.
	Failure     string
	LostRecords int
}

// Fatal returns the first fatal alert that was seen, nil when there is none.
func (s *TLS) Fatal() *Alert {
	for i := range s.Alerts {
		if s.Alerts[i].Fatal {
			return &s.Alerts[i]
		}
	}
	return nil
}

// MaxAlerts is how many alerts of a session are kept.
const MaxAlerts = 8

// Alert is a TLS alert.
type Alert struct {
	Dir Direction
	// Fatal is the alert's level. Code is its description's number, and Name its name in the RFCs, such as unknown_ca.
	Fatal bool
	Code  uint8
	Name  string
	At    clock.Mark
}

// Certificate is what is told of an X.509 certificate.
type Certificate struct {
	// Subject and Issuer are distinguished names (RFC 2253); CommonName and IssuerName their common names, or
	// organisations.
	Subject, Issuer, CommonName, IssuerName string
	// Names are the subject's alternative names: DNS names, addresses, mail addresses and URIs.
	Names []string
	// NotBefore and NotAfter are in nanoseconds since 1970.
	NotBefore, NotAfter int64
	// Serial is the serial number, SHA256 the fingerprint, both in hexadecimal, upper case.
	Serial, SHA256 string
	// Key is the kind and size of the public key, such as "RSA 2048"; Signature the algorithm of the signature.
	Key, Signature string
	// Malformed: it couldn't be parsed, so only the fingerprint is known.
	Malformed bool
}
