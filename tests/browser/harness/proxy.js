// Another origin for the same relay, which serves some of its modules altered: the way to a dishonest client.
import http from 'node:http';
import net from 'node:net';

const RELAY = { host: '127.0.0.1', port: 8080 };
const PORT = 8081;

/**
 * `changes` maps a path to a list of [from, to]; a text that is not found throws, so that a test cannot go stale.
 * The relay must answer for the host name as well: SOTTO_HOST.
 */
export async function startProxy(changes) {
  const origin = `http://127.0.0.1:${PORT}`;
  const faults = [];
  const server = http.createServer(async (request, response) => {
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
  server.on('upgrade', (request, socket, head) => {
    const relay = net.connect(RELAY, () => {
      const lines = request.rawHeaders.flatMap((value, n) => (n % 2 ? [] : [`${value}: ${request.rawHeaders[n + 1]}`]));
      relay.write(`${request.method} ${request.url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
      relay.write(head);
      relay.pipe(socket).pipe(relay);
    });
    for (const end of [relay, socket]) end.on('error', () => { relay.destroy(); socket.destroy(); });
  });
  await new Promise(done => server.listen(PORT, '127.0.0.1', done));
  return {
    origin,
    host: `127.0.0.1:${PORT}`,
    /** The same link, opened at this origin. */
    link: link => link.replace(/^https?:\/\/[^/]+/, origin),
    /** Throws where an alteration found nothing to alter. */
    check: () => { if (faults.length) throw new Error(faults.join('; ')); },
    close: () => { server.closeAllConnections(); server.close(); },
  };
}
