// Callers of foreign trust domains at an agent's inbound listener and at a gateway that ends TLS, on each engine: only where a service names them.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { Agent, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import type { ForeignCallers, ServiceName, ServiceView, SnapshotResource, SpiffeId } from '@isthmus/model';
import { anEndpoint, aServiceView } from '@isthmus/model/testing';
import { openBundleSet, svidToPem, type X509Svid } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import type { EngineKind } from '../engine/engine.ts';
import { TestSnapshots } from '../engine/testing.ts';
import { east, PAYMENTS, PAYMENTS_ID, svidOf, WEB_ID } from '../proxy/testing.ts';
import { startProxies } from './proxies.ts';

const closers: (() => Promise<unknown> | void)[] = [];
after(async () => {
  for (const close of closers.toReversed()) await close();
});

const engines: readonly EngineKind[] = process.platform === 'linux' ? ['portable', 'linux'] : ['portable'];
const partner = testAuthority({ federation: 'partner.example', cluster: 'spire' });
const third = testAuthority({ federation: 'third.example', cluster: 'spire' });
const BILLING = 'spiffe://spire.partner.example/billing';
const GATEWAY_ID = 'spiffe://east.acme.example/gateway' as SpiffeId;
const LEDGER: ServiceName = { namespace: 'shop', name: 'ledger' };

const bundleOf = (of: typeof partner): SnapshotResource => ({ kind: 'foreign-bundle', bundle: of.bundle });
const service = (name: ServiceName, foreignCallers?: readonly ForeignCallers[]): SnapshotResource =>
  aServiceView({ ...name, ports: [{ name: 'http', port: 80, protocol: 'http' }], endpoints: [], ...(foreignCallers && { foreignCallers: [...foreignCallers] }) });

const layer7 = (name: ServiceName, port: number, foreignCallers?: readonly ForeignCallers[]): SnapshotResource => ({
  ...(service(name, foreignCallers) as ServiceView),
  exported: true,
  gatewayLayer: 7,
  endpoints: [anEndpoint({ id: `east/${name.name}/p1`, host: '127.0.0.1', ports: { http: port }, spiffeId: PAYMENTS_ID, trustDomain: east.trustDomain })],
});

/** The status of a GET with that SVID, or `refused` where no request was answered. */
function call(port: number, svid: X509Svid | { readonly certPem: string; readonly keyPem: string }, servername = 'http.payments.shop.svc.east.acme.example', agent: Agent | false = false): Promise<string> {
  const { certPem, keyPem } = 'certPem' in svid ? svid : svidToPem(svid);
  return new Promise((resolve) => {
    const req = request({ host: '127.0.0.1', port, cert: certPem, key: keyPem, rejectUnauthorized: false, agent, timeout: 20_000, servername, headers: { host: 'payments' } }, (res) => {
      let body = '';
      res.on('data', (part) => (body += String(part))).on('end', () => resolve(`${res.statusCode} ${body}`));
    });
    req.on('error', () => resolve('refused')).end();
  });
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const limitMs = systemClock.monotonicMs() + 20_000;
  while (!(await holds())) assert.ok(systemClock.monotonicMs() < limitMs, `waited too long for ${what}`);
}

async function rig(engine: EngineKind, hasGateway = false) {
  const app = createServer((req, res) => res.end(String(req.headers['x-forwarded-client-cert']))).listen(0, '127.0.0.1');
  await new Promise((resolve) => app.once('listening', resolve));
  const snapshots = new TestSnapshots();
  const bundles = openBundleSet([east.bundle]);
  const proxies = await startProxies({ engine, snapshots, bundles, svids: (name) => svidOf(name === 'gateway' ? GATEWAY_ID : PAYMENTS_ID), onApplicationDown: () => undefined, clock: systemClock, random: systemRandom, log: silentLog(), metrics: openMetrics() });
  closers.push(() => (app.closeAllConnections(), void app.close()), () => proxies.close());
  const inbound = (name: ServiceName) =>
    proxies.inbound({ listen: { host: '127.0.0.1', port: 0 }, service: name, instance: 'p1', port: 'http', application: { host: '127.0.0.1', port: (app.address() as AddressInfo).port }, svids: 'shop/payments' });
  const gateway = hasGateway ? await proxies.gatewayHttp({ listen: { host: '127.0.0.1', port: 0 }, trustDomain: east.trustDomain, svids: 'gateway' }) : undefined;
  return { snapshots, bundles, port: (await inbound(PAYMENTS)).port, gatewayPort: gateway?.port ?? 0 };
}

for (const engine of engines) {
  const claim = (text: string, fn: () => Promise<void>): void => void test(`${engine}: ${text}`, { timeout: 120_000 }, fn);

  claim('a foreign caller is let in where the service names it, and the application learns who it is', async () => {
    const { snapshots, port } = await rig(engine);
    snapshots.set(bundleOf(partner), service(PAYMENTS, [{ trustDomain: partner.trustDomain, spiffeIds: [BILLING] }]));
    await until('the caller', async () => (await call(port, partner.issue(BILLING))).startsWith('200'));
    assert.match(await call(port, partner.issue(BILLING)), new RegExp(`URI=${BILLING}`));
    assert.equal(await call(port, partner.issue('spiffe://spire.partner.example/other')), 'refused');
    assert.match(await call(port, east.issue(WEB_ID)), /^200/);
  });

  claim('all of a foreign trust domain is let in where no ID is named, and nobody where the service names another or none', async () => {
    const { snapshots, port } = await rig(engine);
    snapshots.set(bundleOf(partner), bundleOf(third), service(PAYMENTS, [{ trustDomain: partner.trustDomain }]), service(LEDGER, [{ trustDomain: third.trustDomain }]));
    await until('the caller', async () => (await call(port, partner.issue('spiffe://spire.partner.example/anybody'))).startsWith('200'));
    // The bundle is there, for another service.
    assert.equal(await call(port, third.issue('spiffe://spire.third.example/x')), 'refused');
    snapshots.set(bundleOf(partner), bundleOf(third), service(PAYMENTS));
    await until('the refusal', async () => (await call(port, partner.issue(BILLING))) === 'refused');
    assert.match(await call(port, east.issue(WEB_ID)), /^200/);
  });

  claim('a foreign trust domain whose bundle is dropped or emptied is let in no longer', async () => {
    const { snapshots, port } = await rig(engine);
    const named = service(PAYMENTS, [{ trustDomain: partner.trustDomain }]);
    for (const without of [[], [{ kind: 'foreign-bundle', bundle: { ...partner.bundle, sequence: 2, x509Authorities: [] } }] satisfies SnapshotResource[]]) {
      snapshots.set(bundleOf(partner), named);
      await until('the caller', async () => (await call(port, partner.issue(BILLING))).startsWith('200'));
      snapshots.set(...without, named);
      await until('the refusal', async () => (await call(port, partner.issue(BILLING))) === 'refused');
    }
  });

  claim('a foreign root that presents a certificate of our name, or of a third’s, is refused (row 44)', async () => {
    const { snapshots, port } = await rig(engine);
    // Roots of another federation that calls itself as we do, and one that calls itself as the partner.
    const ourName = testAuthority({ federation: 'acme.example', cluster: 'east' });
    const partnersName = testAuthority({ federation: 'partner.example', cluster: 'spire' });
    const asIfOurs: SnapshotResource = { kind: 'foreign-bundle', bundle: { ...ourName.bundle, sequence: 99 } };
    snapshots.set(bundleOf(partner), bundleOf(third), asIfOurs, service(PAYMENTS, [{ trustDomain: partner.trustDomain }, { trustDomain: third.trustDomain }, { trustDomain: east.trustDomain }]));
    await until('the caller', async () => (await call(port, partner.issue(BILLING))).startsWith('200'));
    assert.equal(await call(port, ourName.issue(WEB_ID)), 'refused', 'even where its bundle was put there under our name');
    assert.equal(await call(port, partnersName.issue(BILLING)), 'refused');
    assert.match(await call(port, east.issue(WEB_ID)), /^200/);
  });

  claim('at a gateway that ends TLS a foreign caller passes for the service that names it alone, and the agent is told who it is', async () => {
    const { snapshots, port, gatewayPort } = await rig(engine, true);
    const LEDGER_SNI = 'http.ledger.shop.l7.east.acme.example';
    const PAYMENTS_SNI = 'http.payments.shop.l7.east.acme.example';
    const set = (payments: readonly ForeignCallers[] | undefined): void =>
      snapshots.set(bundleOf(partner), bundleOf(third), layer7(PAYMENTS, port, payments), layer7(LEDGER, port, [{ trustDomain: third.trustDomain }]));
    set([{ trustDomain: partner.trustDomain, spiffeIds: [BILLING] }]);
    await until('the caller', async () => (await call(gatewayPort, partner.issue(BILLING), PAYMENTS_SNI)).startsWith('200'));
    assert.match(await call(gatewayPort, partner.issue(BILLING), PAYMENTS_SNI), new RegExp(`URI=${BILLING}`));
    // Another of its trust domain; and those whom the other service alone names, or who name it themselves.
    assert.equal(await call(gatewayPort, partner.issue('spiffe://spire.partner.example/other'), PAYMENTS_SNI), 'refused');
    assert.equal(await call(gatewayPort, third.issue('spiffe://spire.third.example/x'), PAYMENTS_SNI), 'refused');
    assert.equal(await call(gatewayPort, partner.issue(BILLING), LEDGER_SNI), 'refused');
    assert.match(await call(gatewayPort, east.issue(WEB_ID), PAYMENTS_SNI), /^200/);
    // A connection that is open when the export names it no longer: its next request is refused, by whoever hears first.
    const { certPem, keyPem } = svidToPem(partner.issue(BILLING));
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    closers.push(() => agent.destroy());
    const again = (): Promise<string> => call(gatewayPort, { certPem, keyPem }, PAYMENTS_SNI, agent);
    assert.match(await again(), /^200/);
    set(undefined);
    await until('the refusal', async () => !(await again()).startsWith('200'));
    assert.match(await call(gatewayPort, east.issue(WEB_ID), PAYMENTS_SNI), /^200/);
  });
}
