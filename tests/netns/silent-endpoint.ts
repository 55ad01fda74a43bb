// An endpoint that says back what it hears over TLS, and reads no more once it heard `stop`. Prints its port; runs until it is killed.
import { type AddressInfo } from 'node:net';
import { createServer } from 'node:tls';
import { svidToPem } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';

const pem = svidToPem(testAuthority().issue('spiffe://east.acme.example/ns/shop/svc/payments'));
const server = createServer({ cert: pem.certPem, key: pem.keyPem }, (socket) => {
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    if (chunk.toString().startsWith('stop')) socket.pause();
    else socket.write(chunk);
  });
});
server.listen(0, '0.0.0.0', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
