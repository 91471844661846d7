// Canaries: values that belong to one person or one call, planted so that `sotto audit` can be told to search for them.
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';

export class Canaries {
  /** Line of the file that `sotto audit --search` takes -> what it is, in words. */
  #lines = new Map();

  /** A text as a person writes it; what is shorter than six characters occurs by chance. */
  text(what, text) {
    if (text.length >= 6) this.#lines.set(`text:${text}`, what);
    return text;
  }

  /** Bytes that go by base64url on the wire. */
  bytes(what, base64url) {
    this.text(what, base64url);
    if (base64url.length >= 8) this.#lines.set(`base64:${base64url}`, what);
    return base64url;
  }

  /** An IPv4 or IPv6 address. */
  address(text) {
    this.#lines.set(`ip:${text}`, 'address');
    return text;
  }

  /** All that signaling lets its two ends know of one another. */
  signaling(message) {
    for (const field of ['call', 'admission', 'host', 'identity', 'signature', 'proof', 'nonce', 'participant', 'id']) {
      if (typeof message[field] === 'string') this.bytes(field, message[field]);
    }
    for (const field of ['ufrag', 'pwd']) if (typeof message[field] === 'string') this.text(field, message[field]);
    for (const [, kind, value] of (message.sdp ?? '').matchAll(/^a=(ice-ufrag|ice-pwd|fingerprint):(?:sha-256 )?(\S+)/gm)) {
      // a browser's ufrag has four characters
      if (kind === 'fingerprint') this.bytes(kind, Buffer.from(value.replaceAll(':', ''), 'hex').toString('base64url'));
      else this.text(kind, value.length < 6 ? `${kind}:${value}` : value);
    }
    if (typeof message.data === 'string') this.text('relayed', /[\w-]{43,}/.exec(message.data)?.[0].slice(0, 64) ?? '');
  }

  get size() {
    return this.#lines.size;
  }

  /** What each line of the file is, in words and as written. */
  get all() {
    return [...this.#lines].map(([line, what]) => ({ what, line }));
  }

  /** Searches folders; what was found where, by the canary's place. `file` keeps the canaries. */
  async search(file, data, ...folders) {
    writeFileSync(file, [...this.#lines.keys()].map(line => `${line}\n`).join(''));
    const args = ['audit', '--data', data, '--search', file, ...folders.flatMap(folder => ['--in', folder])];
    const { code, output } = await new Promise(done => {
      execFile(process.env.SOTTO_BIN, args, { maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
        done({ code: error?.code ?? 0, output: stdout + stderr });
      });
    });
    const found = [...output.matchAll(/^FOUND: the canary of line (\d+) (.*), (?:once|\d+ times), in "([^"]*)"/gm)];
    return { code, output, hits: found.map(([, line, form, path]) => ({ ...this.all[line - 1], form, path })) };
  }
}

/** The bytes that a line stands for, and every way in which a careless program might write them: [form, bytes]. */
export function spellings(line) {
  const [, kind, value] = /^(\w+):(.*)$/s.exec(line);
  const raw = { text: () => Buffer.from(value), base64: () => Buffer.from(value, 'base64url'), ip: () => networkOrder(value) }[kind]();
  const texts = kind === 'ip' ? [['raw', Buffer.from(value)], ['network-order', raw]] : [['raw', raw]];
  const pairs = [...raw].map(byte => byte.toString(16).padStart(2, '0'));
  return [
    ...texts,
    ['hex', Buffer.from(pairs.join(''))],
    ['hex-upper', Buffer.from(pairs.join('').toUpperCase())],
    ['base64', Buffer.from(raw.toString('base64'))],
    ['base64url-inside', Buffer.from(Buffer.concat([Buffer.from('>'), raw, Buffer.from('<<')]).toString('base64url'))],
    ['percent', Buffer.from(pairs.map(pair => `%${pair}`).join(''))],
    ['list', Buffer.from(`[${[...raw].join(', ')}]`)],
  ];
}

function networkOrder(address) {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number));
  const [head, tail = ''] = address.split('::');
  const groups = text => (text === '' ? [] : text.split(':').map(group => Number.parseInt(group, 16)));
  const [first, last] = [groups(head), groups(tail)];
  const all = [...first, ...Array(8 - first.length - last.length).fill(0), ...last];
  return Buffer.from(all.flatMap(group => [group >> 8, group & 255]));
}
