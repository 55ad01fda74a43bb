// What a VM finds beside the mesh: a nameserver that answers every name with one address, and web servers. Runs until it is killed.
import { createSocket } from 'node:dgram';
import { createServer as createWebServer } from 'node:http';
import { createServer, isIPv6 } from 'node:net';

const [answer = '', ...listens] = process.argv.slice(2);

/** The question, and where it is one for an A record that address. */
function reply(query: Buffer): Buffer {
  const header = Buffer.from(query.subarray(0, 12));
  header.writeUInt16BE(0x8180, 2);
  let end = 12;
  while ((query[end] ?? 0) !== 0) end += 1 + (query[end] ?? 0);
  const isA = query.readUInt16BE(end + 1) === 1;
  header.writeUInt16BE(isA ? 1 : 0, 6);
  header.writeUInt32BE(0, 8);
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...answer.split('.').map(Number)]);
  return Buffer.concat([header, query.subarray(12, end + 5), ...(isA ? [record] : [])]);
}

function nameserver(host: string): void {
  const udp = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
  udp.on('message', (query, from) => udp.send(reply(query), from.port, from.address));
  udp.bind(53, host);
  createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      const bytes = reply(chunk.subarray(2));
      const length = Buffer.alloc(2);
      length.writeUInt16BE(bytes.length);
      socket.end(Buffer.concat([length, bytes]));
    });
  }).listen(53, host);
}

for (const listen of listens) {
  const at = listen.lastIndexOf(':');
  const [host, port] = [listen.slice(0, at), Number(listen.slice(at + 1))];
  if (port === 53) nameserver(host);
  else createWebServer((_request, response) => response.end('outside')).listen(port, host);
}
process.stdout.write('{"msg":"ready"}\n');
