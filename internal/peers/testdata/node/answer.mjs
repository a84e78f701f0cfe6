// What the servers of these tests say: as many bytes as the query asks for with size, each the last digit of what the
// request's body adds up to.
export function answer(target, body) {
  const size = Number(new URL(target, "https://shop.example").searchParams.get("size"));
  const sum = body.reduce((a, b) => a + b, 0) % 10;
  return Buffer.alloc(size, String(sum));
}

// body collects a stream.
export async function collect(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

// say prints a line for the test: an object, with buffers in base64.
export function say(object) {
  const plain = {};
  for (const [key, value] of Object.entries(object)) plain[key] = Buffer.isBuffer(value) ? value.toString("base64") : value;
  process.stdout.write(JSON.stringify(plain) + "\n");
}
