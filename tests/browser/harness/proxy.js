// Another origin for the same relay, which serves some of its modules altered (the way to a dishonest client), or alters
// what server and clients say to each other (the way to a dishonest server).
import http from 'node:http';
import net from 'node:net';
import { Frames } from './frames.js';

const RELAY = { host: '127.0.0.1', port: 8080 };
const PORT = 8081;

/**
 * `changes` maps a path to a list of [from, to]; a text that is not found throws, so that a test cannot go stale.
 * The relay must answer for the host name as well: SOTTO_HOST.
 * `server` alters messages: `toClient(message, say)` and `toServer(message, say)` get each one parsed and answer with what
 * is passed on instead, or null; `say` sends a further one to that client, behind it.
 */
export async function startProxy(changes, server = {}) {
  const origin = `http://127.0.0.1:${PORT}`;
  const faults = [];
  const http_ = http.createServer(async (request, response) => {
    const answer = await fetch(`http://${RELAY.host}:${RELAY.port}${request.url}`);
    const headers = Object.fromEntries(answer.headers);
    for (const name of ['content-length', 'content-encoding', 'transfer-encoding', 'etag']) delete headers[name];
    let body = Buffer.from(await answer.arrayBuffer());
    for (const [from, to] of changes[request.url] ?? []) {
      const text = body.toString();
      if (!text.includes(from)) faults.push(`${request.url} has no ${from}`);
      body = Buffer.from(text.replace(from, to));
    }
    response.writeHead(answer.status, headers).end(body);
  });
  http_.on('upgrade', (request, socket, head) => {
    const relay = net.connect(RELAY, () => {
      const lines = request.rawHeaders.flatMap((value, n) => (n % 2 || value.toLowerCase() === 'sec-websocket-extensions' ? [] : [`${value}: ${request.rawHeaders[n + 1]}`]));
      relay.write(`${request.method} ${request.url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
      relay.write(head);
      if (server.toClient || server.toServer) between(relay, socket, server);
      else relay.pipe(socket).pipe(relay);
    });
    for (const end of [relay, socket]) end.on('error', () => { relay.destroy(); socket.destroy(); });
  });
  await new Promise(done => http_.listen(PORT, '127.0.0.1', done));
  return {
    origin,
    host: `127.0.0.1:${PORT}`,
    /** The same link, opened at this origin. */
    link: link => link.replace(/^https?:\/\/[^/]+/, origin),
    /** Throws where an alteration found nothing to alter. */
    check: () => { if (faults.length) throw new Error(faults.join('; ')); },
    close: () => { http_.closeAllConnections(); http_.close(); },
  };
}

/** Passes messages on, both ways, as `server` alters them. */
function between(relay, socket, { toClient = same, toServer = same }) {
  const altering = (alter, say) => text => {
    const message = alter(JSON.parse(text), say);
    return message ? [JSON.stringify(message)] : [];
  };
  const later = message => setImmediate(() => down.say(JSON.stringify(message)));
  const down = new Frames(false, altering(toClient, later), bytes => socket.write(bytes));
  const up = new Frames(true, altering(toServer, later), bytes => relay.write(bytes));
  let head = Buffer.alloc(0);
  relay.on('data', bytes => {
    if (head === null) return down.take(bytes);
    head = Buffer.concat([head, bytes]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    socket.write(head.subarray(0, end + 4));
    const rest = head.subarray(end + 4);
    head = null;
    down.take(rest);
  });
  socket.on('data', bytes => up.take(bytes));
  relay.on('close', () => socket.destroy());
  socket.on('close', () => relay.destroy());
}

const same = message => message;
