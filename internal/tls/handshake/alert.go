package handshake

import (
	"fmt"
	"strings"
)

// alert is what is known of an alert. In meaning, {sender} is who sent it, and {peer} the other.
type alert struct{ name, meaning string }

// alerts are those of IANA's registry (TLS Alerts), with those that are reserved because they were in use once.
var alerts = map[uint8]alert{
	0:   {"close_notify", "{sender} sends nothing more: the regular end"},
	10:  {"unexpected_message", "{sender} got a message that doesn't belong there: a fault of {peer}, or something that isn't TLS in between"},
	20:  {"bad_record_mac", "{sender} couldn't verify a record: it was damaged or changed on the way, or the two derived different keys"},
	21:  {"decryption_failed", "{sender} couldn't decrypt a record: it was damaged or changed on the way, or the two derived different keys"},
	22:  {"record_overflow", "{sender} got a record longer than allowed: a fault of {peer}, or bytes that aren't TLS"},
	30:  {"decompression_failure", "{sender} couldn't decompress what {peer} sent"},
	40:  {"handshake_failure", "{sender} found nothing acceptable in what {peer} offered: usually no common cipher suite, group or signature algorithm, or a certificate that is missing"},
	41:  {"no_certificate", "{sender} has no certificate to show (SSL 3.0)"},
	42:  {"bad_certificate", "{sender} finds the certificate of {peer} broken, or its signature wrong"},
	43:  {"unsupported_certificate", "{sender} doesn't support the kind of certificate that {peer} uses, or not for this purpose"},
	44:  {"certificate_revoked", "{sender} says that the certificate of {peer} was revoked: {peer} needs a new one"},
	45:  {"certificate_expired", "{sender} says that the certificate of {peer} has expired or isn't valid yet: {peer} must renew it, or the clock of {sender} is wrong"},
	46:  {"certificate_unknown", "{sender} doesn't accept the certificate of {peer}, for a reason that it doesn't say: often an authority that it doesn't trust, or a name that doesn't match"},
	47:  {"illegal_parameter", "{sender} got a value that contradicts others or isn't allowed: a fault of {peer}, or of a device in between"},
	48:  {"unknown_ca", "{sender} doesn't trust the authority that issued the certificate of {peer}: the root is missing at {sender}, or {peer} leaves out an intermediate certificate"},
	49:  {"access_denied", "{sender} knows the certificate of {peer} and refuses access"},
	50:  {"decode_error", "{sender} couldn't parse a message: a fault of {peer}, or of a device in between"},
	51:  {"decrypt_error", "{sender} couldn't verify a signature, a Finished message or a pre-shared key: the two don't use the same key"},
	52:  {"too_many_cids_requested", "{sender} got requests for too many connection ids"},
	60:  {"export_restriction", "{sender} refuses a key length, by rules on export that are long gone"},
	70:  {"protocol_version", "{sender} doesn't speak, or doesn't allow, the version of TLS that {peer} wants"},
	71:  {"insufficient_security", "{sender} demands stronger ciphers or keys than {peer} offers"},
	80:  {"internal_error", "{sender} has a problem of its own, which has nothing to do with {peer} or the protocol"},
	86:  {"inappropriate_fallback", "{sender} saw {peer} try again with a lower version than both can speak: an earlier attempt failed, or somebody tampers with it"},
	90:  {"user_canceled", "{sender} gave up, for a reason outside of the protocol"},
	100: {"no_renegotiation", "{sender} refuses to negotiate again on this connection; requests that need the client's certificate fail then"},
	109: {"missing_extension", "{sender} misses an extension that the version demands: a fault of {peer}"},
	110: {"unsupported_extension", "{sender} got an extension that it didn't ask for: a fault of {peer}"},
	111: {"certificate_unobtainable", "{sender} couldn't get the certificate from the URL that {peer} gave"},
	112: {"unrecognized_name", "{sender} doesn't know the server name that {peer} asked for: a wrong name (SNI), or a site that isn't configured"},
	113: {"bad_certificate_status_response", "{sender} refuses the OCSP response that {peer} stapled: it is invalid or too old"},
	114: {"bad_certificate_hash_value", "{sender} got a certificate that doesn't match its hash"},
	115: {"unknown_psk_identity", "{sender} doesn't know the pre-shared key that {peer} named"},
	116: {"certificate_required", "{sender} demands a certificate, and {peer} sent none"},
	117: {"general_error", "{sender} met an error that no other alert names"},
	120: {"no_application_protocol", "{sender} speaks none of the protocols that {peer} offered (ALPN)"},
	121: {"ech_required", "{sender} wanted its encrypted hello to be accepted: the key that it got for {peer} is out of date"},
}

// AlertName returns the name of an alert in the RFCs, such as unknown_ca; alert_N when there is none.
func AlertName(code uint8) string {
	if a, ok := alerts[code]; ok {
		return a.name
	}
	return fmt.Sprintf("alert_%d", code)
}

// AlertMeaning says in a line what an alert means and who is usually at fault, whoever sent it.
func AlertMeaning(code uint8) string { return explain(code, "the sender", "the other side") }

// ExplainAlert says what AlertMeaning says, by the names of client and server.
func ExplainAlert(code uint8, fromClient bool) string {
	if fromClient {
		return explain(code, "the client", "the server")
	}
	return explain(code, "the server", "the client")
}

func explain(code uint8, sender, peer string) string {
	a, ok := alerts[code]
	if !ok {
		a.meaning = "{sender} sent an alert that no standard defines"
	}
	return strings.NewReplacer("{sender}", sender, "{peer}", peer).Replace(a.meaning)
}
