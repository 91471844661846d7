// A WebSocket (RFC 6455) and plain HTTP by hand: from an address of choice, with headers and frames of choice, and with
// what is said of errors kept.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';

const PROTOCOL = 'sotto.v1';

/** Sends some bytes and answers with all that comes until the other end, or patience, is done. */
export async function exchange({ host, port, from }, bytes, patience = 300) {
  const socket = net.connect({ host, port, localAddress: from });
  const answer = [];
  socket.on('data', data => answer.push(data)).on('error', () => {});
  socket.setTimeout(patience, () => socket.destroy());
  socket.write(bytes);
  await once(socket, 'close');
  return Buffer.concat(answer);
}

export class Wire {
  /** Texts of the server that nobody took yet. */
  #texts = [];
  #wake = () => {};
  #socket;
  #buffer = Buffer.alloc(0);
  closed = false;
  /** What came that is meant for nobody in particular: the upgrade's header, error messages, close frames. */
  #public = [];

  static async open({ host, port, from, name }, headers = {}) {
    const wire = new Wire();
    wire.#socket = net.connect({ host, port, localAddress: from });
    const socket = wire.#socket;
    socket.on('error', () => {}).on('close', () => wire.#end());
    const lines = {
      Host: name, Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': randomBytes(16).toString('base64'), 'Sec-WebSocket-Protocol': PROTOCOL, ...headers,
    };
    socket.write(`GET /v1/ws HTTP/1.1\r\n${Object.entries(lines).map(line => `${line.join(': ')}\r\n`).join('')}\r\n`);
    socket.on('data', data => wire.#take(data));
    return wire;
  }

  say(message) {
    this.frame(1, Buffer.from(typeof message === 'string' ? message : JSON.stringify(message)));
  }

  /** One masked frame. */
  frame(opcode, payload) {
    const mask = randomBytes(4);
    const length = payload.length < 126 ? Buffer.from([0x80 | payload.length]) : Buffer.alloc(9, 0xff);
    if (payload.length >= 126) length.writeBigUInt64BE(BigInt(payload.length), 1);
    const masked = payload.map((byte, n) => byte ^ mask[n % 4]);
    if (!this.closed) this.#socket.write(Buffer.concat([Buffer.from([0x80 | opcode]), length, mask, masked]));
  }

  /** The next message, parsed; `null` once the connection is over. */
  async hear() {
    while (this.#texts.length === 0 && !this.closed) await new Promise(wake => (this.#wake = wake));
    return this.#texts.length > 0 ? JSON.parse(this.#texts.shift()) : null;
  }

  /** Everything until the server closes the connection, or patience is over. */
  async end(patience = 1000) {
    const timer = setTimeout(() => this.close(), patience);
    const heard = [];
    for (let message = await this.hear(); message; message = await this.hear()) heard.push(message);
    clearTimeout(timer);
    return heard;
  }

  get public() {
    return Buffer.concat(this.#public);
  }

  close() {
    this.#socket.destroy();
    this.#end();
  }

  #end() {
    this.closed = true;
    this.#wake();
  }

  #take(data) {
    this.#buffer = Buffer.concat([this.#buffer, data]);
    if (!this.upgraded) {
      const end = this.#buffer.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.upgraded = true;
      this.#public.push(this.#buffer.subarray(0, end));
      this.#buffer = this.#buffer.subarray(end + 4);
    }
    for (let frame = this.#frame(); frame; frame = this.#frame()) {
      if (frame.opcode === 1) this.#texts.push(frame.payload.toString());
      if (frame.opcode === 8 || frame.payload.includes('"type":"error"')) this.#public.push(frame.payload);
    }
    this.#wake();
  }

  #frame() {
    const bytes = this.#buffer;
    if (bytes.length < 2) return null;
    const short = bytes[1] & 127;
    const at = { 126: 4, 127: 10 }[short] ?? 2;
    if (bytes.length < at) return null;
    const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
    if (bytes.length < at + length) return null;
    this.#buffer = bytes.subarray(at + length);
    return { opcode: bytes[0] & 15, payload: bytes.subarray(at, at + length) };
  }
}
