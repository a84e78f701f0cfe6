// What TLS says of itself, in words.

/** What an alert means; {sender} sent it to {peer}. As internal/tls/handshake/alert.go has it; a test compares the two. */
const meanings: Record<string, string> = {
  close_notify: "{sender} sends nothing more: the regular end",
  unexpected_message:
    "{sender} got a message that doesn't belong there: a fault of {peer}, or something that isn't TLS in between",
  bad_record_mac:
    "{sender} couldn't verify a record: it was damaged or changed on the way, or the two derived different keys",
  decryption_failed:
    "{sender} couldn't decrypt a record: it was damaged or changed on the way, or the two derived different keys",
  record_overflow: "{sender} got a record longer than allowed: a fault of {peer}, or bytes that aren't TLS",
  decompression_failure: "{sender} couldn't decompress what {peer} sent",
  handshake_failure:
    "{sender} found nothing acceptable in what {peer} offered: usually no common cipher suite, group or signature algorithm, or a certificate that is missing",
  no_certificate: "{sender} has no certificate to show (SSL 3.0)",
  bad_certificate: "{sender} finds the certificate of {peer} broken, or its signature wrong",
  unsupported_certificate: "{sender} doesn't support the kind of certificate that {peer} uses, or not for this purpose",
  certificate_revoked: "{sender} says that the certificate of {peer} was revoked: {peer} needs a new one",
  certificate_expired:
    "{sender} says that the certificate of {peer} has expired or isn't valid yet: {peer} must renew it, or the clock of {sender} is wrong",
  certificate_unknown:
    "{sender} doesn't accept the certificate of {peer}, for a reason that it doesn't say: often an authority that it doesn't trust, or a name that doesn't match",
  illegal_parameter:
    "{sender} got a value that contradicts others or isn't allowed: a fault of {peer}, or of a device in between",
  unknown_ca:
    "{sender} doesn't trust the authority that issued the certificate of {peer}: the root is missing at {sender}, or {peer} leaves out an intermediate certificate",
  access_denied: "{sender} knows the certificate of {peer} and refuses access",
  decode_error: "{sender} couldn't parse a message: a fault of {peer}, or of a device in between",
  decrypt_error:
    "{sender} couldn't verify a signature, a Finished message or a pre-shared key: the two don't use the same key",
  too_many_cids_requested: "{sender} got requests for too many connection ids",
  export_restriction: "{sender} refuses a key length, by rules on export that are long gone",
  protocol_version: "{sender} doesn't speak, or doesn't allow, the version of TLS that {peer} wants",
  insufficient_security: "{sender} demands stronger ciphers or keys than {peer} offers",
  internal_error: "{sender} has a problem of its own, which has nothing to do with {peer} or the protocol",
  inappropriate_fallback:
    "{sender} saw {peer} try again with a lower version than both can speak: an earlier attempt failed, or somebody tampers with it",
  user_canceled: "{sender} gave up, for a reason outside of the protocol",
  no_renegotiation:
    "{sender} refuses to negotiate again on this connection; requests that need the client's certificate fail then",
  missing_extension: "{sender} misses an extension that the version demands: a fault of {peer}",
  unsupported_extension: "{sender} got an extension that it didn't ask for: a fault of {peer}",
  certificate_unobtainable: "{sender} couldn't get the certificate from the URL that {peer} gave",
  unrecognized_name:
    "{sender} doesn't know the server name that {peer} asked for: a wrong name (SNI), or a site that isn't configured",
  bad_certificate_status_response: "{sender} refuses the OCSP response that {peer} stapled: it is invalid or too old",
  bad_certificate_hash_value: "{sender} got a certificate that doesn't match its hash",
  unknown_psk_identity: "{sender} doesn't know the pre-shared key that {peer} named",
  certificate_required: "{sender} demands a certificate, and {peer} sent none",
  general_error: "{sender} met an error that no other alert names",
  no_application_protocol: "{sender} speaks none of the protocols that {peer} offered (ALPN)",
  ech_required: "{sender} wanted its encrypted hello to be accepted: the key that it got for {peer} is out of date",
};

export interface Alert {
  sender: "client" | "server";
  name: string;
  /** A sentence without its end. */
  meaning: string;
}

/** alertOf reads an alert as documents have it: server: unknown_ca. */
export function alertOf(text: string): Alert {
  const at = text.indexOf(": ");
  const sender = text.slice(0, Math.max(at, 0)) === "client" ? "client" : "server";
  const peer = sender === "client" ? "server" : "client";
  const name = text.slice(at < 0 ? 0 : at + 2);
  const meaning = Object.hasOwn(meanings, name) ? meanings[name]! : "{sender} sent an alert that no standard defines";
  return {
    sender,
    name,
    meaning: meaning.replaceAll("{sender}", `the ${sender}`).replaceAll("{peer}", `the ${peer}`),
  };
}

/** Why a connection wasn't read, by the beginning of the reason, and what to do. docs/keys.md has more of it. */
const remedies: [begins: string, remedy: string][] = [
  [
    "no keys were given",
    "Have the client or the server write its keys (SSLKEYLOGFILE), and give culprit that file: --keylog FILE.",
  ],
  [
    "no key for this client random, and",
    "A private key opens only the RSA key exchange of TLS 1.2 and before. For all else the client or the server has to write its keys: --keylog FILE.",
  ],
  [
    "no key for this client random",
    "The key log has other connections, and not these: have these clients, or their server, write their keys, too (SSLKEYLOGFILE).",
  ],
  [
    "its key didn't come",
    "The key came too late, or never. Check that the program that writes the key log still does, and that culprit reads the same file.",
  ],
  [
    "the key doesn't fit",
    "A key was found, but not that of these bytes: packets are missing, or the key log is of another run.",
  ],
  ["nothing was sent", "There was nothing to read: the connection was opened and closed."],
  [
    "the capture began after the handshake",
    "Begin the capture before the connection: keys are found by its handshake.",
  ],
  [
    "bytes of the handshake",
    "The handshake wasn't captured whole. Begin the capture before the connection, and see Health for lost packets.",
  ],
  ["bytes that aren't TLS", "It began as TLS, and went on as something else."],
  ["the handshake can't be read", "Something in the handshake is malformed, or newer than this version of culprit."],
  ["its records are compressed", "culprit doesn't read TLS compression. Switch it off: it is unsafe (CRIME)."],
  ["the cipher suite can't be opened", "culprit doesn't know this cipher suite. Its facts are all that can be told."],
];

/** remedy says what to do about a reason; "" where there is nothing to say. */
export function remedy(reason: string): string {
  return remedies.find(([begins]) => reason.startsWith(begins))?.[1] ?? "";
}

/** Connections that weren't read, and handshakes that failed. Each record of the protocol tls is one or the other. */
export const unread = 'protocol == "tls" and grade not in ["aborted", "unanswered"]';
export const failed = '(protocol == "tls" and grade in ["aborted", "unanswered"] or has(alert))';

/** Certificates that end sooner are said to end soon. */
export const soon = 30;

/** validity says in words how long a certificate is good; its class is that of the words (app.css). */
export function validity(days: number): { words: string; class: string } {
  if (days < 0) return { words: days === -1 ? "ended a day ago" : `ended ${-days} days ago`, class: "ended" };
  const words = days === 0 ? "ends within a day" : days === 1 ? "1 day left" : `${days} days left`;
  return { words, class: days < soon ? "soon" : "" };
}
