// Rows 50 and 51: a connection is for the one service it was made for, whatever its requests say.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect } from 'node:tls';
import { openProbeCluster, PAYMENTS, portNames, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';
import { spiffeIds } from '@isthmus/model';
import { svidToPem } from '@isthmus/pki';

let mesh: TestFederation;
before(async () => {
  mesh = await startFederation({ topology: smallTopology(['vm-1', 'east-1', 'west-2']) });
}, { timeout: 60_000 });
after(() => mesh.close());

const OWN = 'http.payments.shop.svc.east.demo.isthmus.example';

test('a request for another service than the connection was made for is 421', { timeout: 60_000 }, async () => {
  const probe = await openProbeCluster(mesh.federation);
  const { certPem: cert, keyPem: key } = svidToPem(probe.sign(spiffeIds.service(probe.trustDomain, PAYMENTS), { nowMs: Date.now(), ttlMs: 3_600_000 }));
  const ask = (host: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port: mesh.federation.port(portNames.inbound('east-1', PAYMENTS)), servername: OWN, rejectUnauthorized: false, cert, key });
      socket.once('secureConnect', () => socket.write(`GET / HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`));
      socket.once('data', (bytes: Buffer) => resolve(bytes.toString('latin1').split('\r\n')[0] ?? ''));
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('closed without an answer')));
    });
  assert.match(await waitFor('east to take a caller of the new cluster', 20_000, () => ask(OWN), 100), /^HTTP\/1\.1 200 /);
  for (const other of ['http.vault.shop.svc.east.demo.isthmus.example', 'vault.shop.svc.clusterset.local', 'HTTP.Vault.shop.svc.east.demo.isthmus.example:443']) {
    assert.match(await ask(other), /^HTTP\/1\.1 421 /, other);
  }
  for (const own of [OWN, `${OWN.toUpperCase()}:443`, 'payments.shop.svc.clusterset.local', 'pay.example.org']) assert.match(await ask(own), /^HTTP\/1\.1 200 /, own);
});
