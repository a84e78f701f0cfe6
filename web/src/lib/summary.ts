import { kindFields } from "./kind";

/** The fields that a short list of exchanges shows: components/ExchangeTable. */
export const summaryFields = [
  "@timestamp",
  "event.id",
  "event.duration",
  "client.ip",
  "client.port",
  "client.domain",
  ...kindFields,
  "http.response.status_code",
  "http.response.body.bytes",
  "http.request.body.bytes",
  "culprit.grpc.status_code",
  "culprit.grade",
  "error.message",
  "culprit.timing.connect",
  "culprit.timing.tls",
  "culprit.timing.idle",
  "culprit.timing.send",
  "culprit.timing.wait",
  "culprit.timing.receive",
  "culprit.timing.total",
].join(",");
