// WebSocket messages on their way (RFC 6455, section 5.2): text messages can be read, altered, held back or added.

/** Reads the frames of one direction; `alter` gets each whole text and answers with the texts to pass on instead. */
export class Frames {
  #rest = Buffer.alloc(0);
  #parts = [];
  #pass;
  #alter;
  #masked;

  /** `masked`: whether what is passed on must be, as everything from a client. */
  constructor(masked, alter, pass) {
    this.#masked = masked;
    this.#alter = alter;
    this.#pass = pass;
  }

  take(bytes) {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    for (let frame = this.#next(); frame; frame = this.#next()) this.#frame(frame);
  }

  say(text) {
    this.#pass(this.#write(0x81, Buffer.from(text)));
  }

  #next() {
    const bytes = this.#rest;
    if (bytes.length < 2) return null;
    let at = 2, length = bytes[1] & 0x7f;
    if (length === 126) {
      if (bytes.length < 4) return null;
      length = bytes.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      if (bytes.length < 10) return null;
      length = Number(bytes.readBigUInt64BE(2));
      at = 10;
    }
    const mask = bytes[1] & 0x80 ? bytes.subarray(at, (at += 4)) : null;
    if (bytes.length < at + length) return null;
    const payload = Buffer.from(bytes.subarray(at, at + length));
    if (mask) for (let n = 0; n < length; n += 1) payload[n] ^= mask[n & 3];
    this.#rest = bytes.subarray(at + length);
    return { head: bytes[0], payload };
  }

  #frame({ head, payload }) {
    const opcode = head & 0x0f;
    if (opcode > 2) return this.#pass(this.#write(head, payload)); // close, ping, pong
    this.#parts.push(payload);
    if (!(head & 0x80)) return;
    const text = Buffer.concat(this.#parts.splice(0)).toString();
    for (const each of this.#alter(text)) this.say(each);
  }

  #write(head, payload) {
    const length = payload.length;
    const long = length > 65_535 ? 8 : length > 125 ? 2 : 0;
    const start = Buffer.alloc(2 + long + (this.#masked ? 4 : 0)); // a mask of zeros changes nothing
    start[0] = head;
    start[1] = (this.#masked ? 0x80 : 0) | (long === 8 ? 127 : long === 2 ? 126 : length);
    if (long === 2) start.writeUInt16BE(length, 2);
    if (long === 8) start.writeBigUInt64BE(BigInt(length), 2);
    return Buffer.concat([start, payload]);
  }
}
