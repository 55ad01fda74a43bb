// A ClientHello as a real client sends it, with the server name asked for and of one known length.
import { Duplex } from 'node:stream';
import { connect } from 'node:tls';

/** The length of the hellos most clients have sent for years: padded to 512 bytes (RFC 7685), and a record header. */
export const HELLO_BYTES = 517;

const PADDING_EXTENSION = 21;
const RECORD_HEADER_BYTES = 5;
const HANDSHAKE_HEADER_BYTES = 4;

/** What OpenSSL sends first to `serverName` over TLS 1.3, padded to 517 bytes. **Throws** when OpenSSL's hello is longer. */
export async function clientHello(serverName: string): Promise<Buffer> {
  const hello = await firstBytes(serverName);
  const room = HELLO_BYTES - hello.length - 4;
  if (room < 0) throw new Error(`the hello for ${serverName} has ${hello.length} bytes, which cannot be padded to ${HELLO_BYTES}`);
  const padding = Buffer.alloc(4 + room);
  padding.writeUInt16BE(PADDING_EXTENSION, 0);
  padding.writeUInt16BE(room, 2);
  const padded = Buffer.concat([hello, padding]);
  padded.writeUInt16BE(padded.length - RECORD_HEADER_BYTES, 3);
  padded.writeUIntBE(padded.length - RECORD_HEADER_BYTES - HANDSHAKE_HEADER_BYTES, 6, 3);
  const at = extensionsAt(padded);
  padded.writeUInt16BE(padded.length - at - 2, at);
  return padded;
}

function firstBytes(serverName: string): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        resolve(chunk);
        done();
      },
    });
    const socket = connect({ socket: wire, servername: serverName, minVersion: 'TLSv1.3', ecdhCurve: 'X25519:P-256', ALPNProtocols: ['h2', 'http/1.1'], rejectUnauthorized: false });
    socket.on('error', () => undefined);
  });
}

/** Where the length of the extensions stands (RFC 8446 §4.1.2). */
function extensionsAt(hello: Buffer): number {
  let at = RECORD_HEADER_BYTES + HANDSHAKE_HEADER_BYTES + 2 + 32;
  at += 1 + hello.readUInt8(at); // session id
  at += 2 + hello.readUInt16BE(at); // cipher suites
  return at + 1 + hello.readUInt8(at); // compression methods
}
