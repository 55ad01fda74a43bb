import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, describe, test } from 'node:test';
import { svidToPem, verifySvid } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { systemClock } from '@isthmus/runtime';
import { keys } from '@isthmus/store';
import { startTestSite, type TestSite } from './testing.ts';

const closers: (() => Promise<unknown> | void)[] = [];
after(async () => {
  for (const close of closers.toReversed()) await close();
});

async function site(federation: string): Promise<TestSite> {
  const started = await startTestSite(federation);
  closers.push(() => started.close());
  return started;
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const limitMs = systemClock.monotonicMs() + 30_000;
  while (!(await holds())) {
    assert.ok(systemClock.monotonicMs() < limitMs, `waited too long for ${what}`);
    await systemClock.sleep(10);
  }
}

const statusOf = (at: TestSite, of: TestSite) => at.foreign().status().find((s) => s.trustDomain === of.trustDomain);
const sequenceOf = (at: TestSite, of: TestSite) => at.foreign().bundles.get(of.trustDomain)?.sequence;

/** A pair of federations of which the first knows the second by its endpoint and its first bundle. */
async function pair(): Promise<readonly [TestSite, TestSite]> {
  const [acme, globex] = [await site('acme.example'), await site('globex.example')];
  await acme.foreign().declare(globex.declared());
  await acme.foreign().importBundle(globex.trustDomain, globex.document());
  await until('the first poll', () => statusOf(acme, globex)?.state === 'ok');
  return [acme, globex];
}

describe('two federations that exchange bundles', { timeout: 120_000 }, () => {
  test('each takes the other’s by https_spiffe after a first one by hand, and follows its changes', async () => {
    const [acme, globex] = await pair();
    await globex.foreign().declare(acme.declared());
    await globex.foreign().importBundle(acme.trustDomain, acme.document());
    const next = testAuthority({ federation: 'globex.example' });
    globex.advance([...globex.authority.bundle.x509Authorities, ...next.bundle.x509Authorities]);
    acme.advance();
    await until('both', () => sequenceOf(acme, globex) === 2 && sequenceOf(globex, acme) === 2);
    const call = { chain: next.issue(`spiffe://${globex.trustDomain}/ns/a/svc/b`).chain, nowMs: Date.now() };
    assert.ok(verifySvid({ ...call, bundle: acme.foreign().bundles.get(globex.trustDomain) }).ok);
    assert.equal(acme.foreign().bundles.get(acme.trustDomain), undefined);
    await until('the metric', async () => (await acme.metrics.text()).includes('isthmus_foreign_bundle_sequence{trust_domain="east.globex.example"} 2'));
  });

  test('without a bundle by hand nobody can prove the endpoint, so none is taken', async () => {
    const [acme, globex] = [await site('acme.example'), await site('globex.example')];
    await acme.foreign().declare(globex.declared());
    await until('a failed poll', () => statusOf(acme, globex)?.lastError !== undefined);
    assert.equal(statusOf(acme, globex)?.state, 'none');
    assert.match(statusOf(acme, globex)?.lastError ?? '', /no bundle of east.globex.example yet/);
    assert.equal(acme.foreign().bundles.all().length, 0);
  });

  test('an endpoint that is another identity of the very trust domain is refused', async () => {
    const [acme, globex] = [await site('acme.example'), await site('globex.example')];
    const declared = globex.declared();
    await acme.foreign().declare({ ...declared, source: { ...declared.source, spiffeId: `spiffe://${globex.trustDomain}/spire/server` } as typeof declared.source });
    await acme.foreign().importBundle(globex.trustDomain, globex.document());
    globex.advance();
    // A poll before the bundle by hand fails too, for want of it.
    await until('a poll refused for the identity', () => /it is spiffe:\/\/east.globex.example\/control-plane/.test(statusOf(acme, globex)?.lastError ?? ''));
    assert.equal(sequenceOf(acme, globex), 1);
  });

  test('one that is dropped is gone at once, with its bundle, and is not asked again', async () => {
    const [acme, globex] = await pair();
    assert.equal(await acme.foreign().remove(globex.trustDomain), true);
    await until('the drop', () => acme.foreign().list().length === 0);
    assert.equal(acme.foreign().bundles.get(globex.trustDomain), undefined);
    assert.equal((await acme.store.store.list(keys.allFederated())).entries.length, 0);
    assert.equal(await acme.foreign().remove(globex.trustDomain), false);
    await assert.rejects(acme.foreign().importBundle(globex.trustDomain, globex.document()), { code: 'IDENTITY_FOREIGN_UNKNOWN' });
  });

  test('the last good bundle is there after a restart, with its age, while the endpoint is away', async () => {
    const [acme, globex] = await pair();
    await globex.endpoint.close();
    await acme.reopen();
    assert.equal(sequenceOf(acme, globex), 1);
    await until('a failed poll', () => statusOf(acme, globex)?.state === 'failing');
    assert.equal(sequenceOf(acme, globex), 1);
    assert.ok((statusOf(acme, globex)?.ageMs ?? -1) >= 0);
  });
});

/** An endpoint that has the other site's identity, and answers what it is told to. */
async function liar(as: TestSite): Promise<{ readonly port: number; asked: number; answer: (path: string) => { readonly status: number; readonly body: Buffer; readonly location?: string } }> {
  const { certPem, keyPem } = svidToPem(as.authority.issue(as.spiffeId));
  const state = { port: 0, asked: 0, answer: (_path: string): { readonly status: number; readonly body: Buffer; readonly location?: string } => ({ status: 200, body: as.document() }) };
  const server: Server = createServer({ cert: certPem, key: keyPem }, (request, response) => {
    state.asked += 1;
    const { status, body, location } = state.answer(request.url ?? '');
    response.writeHead(status, location === undefined ? {} : { location }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  state.port = (server.address() as AddressInfo).port;
  return state;
}

describe('what a proven endpoint answers', { timeout: 120_000 }, () => {
  const numbered = (sequence: number, keysOf: unknown = []): Buffer => Buffer.from(JSON.stringify({ spiffe_sequence: sequence, spiffe_refresh_hint: 1, keys: keysOf }));

  const cases = [
    { name: 'nothing', body: () => Buffer.alloc(0), why: /no bundle/ },
    { name: 'garbage', body: () => Buffer.from('<html></html>'), why: /not JSON/ },
    { name: 'no keys and no sequence', body: () => Buffer.from('{"keys":[]}'), why: /no keys and bears no sequence/ },
    { name: 'an older sequence', body: () => numbered(0), why: /sequence is 0/ },
    { name: 'other keys under the same sequence', body: () => numbered(1), why: /others than those/ },
    { name: 'two mebibytes', body: () => Buffer.alloc(2 * 1024 * 1024, 0x20), why: /larger/ },
    { name: 'an error page', status: 500, body: () => Buffer.from('{}'), why: /answered 500/ },
    { name: 'a redirect to plain http', status: 302, location: 'http://127.0.0.1/', body: () => Buffer.alloc(0), why: /no https/ },
    { name: 'redirects without end', status: 302, location: '/again', body: () => Buffer.alloc(0), why: /more than 3 times/ },
  ];
  for (const { name, body, why, status = 200, location } of cases) {
    test(`is not taken when it is ${name}; the last good bundle stays in force (row 47)`, async () => {
      const [acme, globex] = [await site('acme.example'), await site('globex.example')];
      const endpoint = await liar(globex);
      await acme.foreign().declare(globex.declared({ port: endpoint.port }));
      await acme.foreign().importBundle(globex.trustDomain, globex.document());
      await until('a good poll', () => endpoint.asked > 0 && statusOf(acme, globex)?.state === 'ok');
      const before = acme.foreign().bundles.get(globex.trustDomain);
      endpoint.answer = () => ({ status, body: body(), ...(location !== undefined && { location }) });
      await until('a refusal', () => statusOf(acme, globex)?.state === 'failing');
      assert.match(statusOf(acme, globex)?.lastError ?? '', why);
      assert.deepEqual(acme.foreign().bundles.get(globex.trustDomain), before);
      endpoint.answer = () => ({ status: 200, body: numbered(2) });
      await until('recovery', () => statusOf(acme, globex)?.sequence === 2);
    });
  }

  test('is taken when it is newer and has no keys: everything is revoked', async () => {
    const [acme, globex] = await pair();
    globex.advance([]);
    await until('the revocation', () => sequenceOf(acme, globex) === 2);
    const verdict = verifySvid({ chain: globex.authority.issue(`spiffe://${globex.trustDomain}/x`).chain, bundle: acme.foreign().bundles.get(globex.trustDomain), nowMs: Date.now() });
    assert.equal(verdict.ok ? 'ok' : verdict.reason, 'untrusted');
  });

  test('through a redirect is taken, and the next poll begins where it was told to', async () => {
    const [acme, globex] = [await site('acme.example'), await site('globex.example')];
    const endpoint = await liar(globex);
    const paths: string[] = [];
    endpoint.answer = (path) => {
      paths.push(path);
      return path === '/' ? { status: 301, location: '/elsewhere', body: Buffer.alloc(0) } : { status: 200, body: globex.document() };
    };
    await acme.foreign().declare(globex.declared({ port: endpoint.port }));
    await acme.foreign().importBundle(globex.trustDomain, globex.document());
    await until('two polls', () => paths.length >= 4);
    assert.deepEqual(paths.slice(0, 4), ['/', '/elsewhere', '/', '/elsewhere']);
  });
});

describe('a document brought by hand', { timeout: 120_000 }, () => {
  test('is taken by its fingerprint, in any writing of it, and for a trust domain without an endpoint', async () => {
    const [acme, globex] = [await site('acme.example'), await site('globex.example')];
    await acme.foreign().declare({ kind: 'federated-trust-domain', trustDomain: globex.trustDomain, source: { profile: 'file' } });
    const document = globex.document();
    const sha256 = createHash('sha256').update(document).digest('hex');
    await assert.rejects(acme.foreign().importBundle(globex.trustDomain, document, 'ab'.repeat(32)), { code: 'IDENTITY_BUNDLE_FINGERPRINT' });
    assert.equal(acme.foreign().bundles.all().length, 0);
    const colons = sha256.toUpperCase().replaceAll(/(..)(?=.)/g, '$1:');
    assert.deepEqual(await acme.foreign().importBundle(globex.trustDomain, document, colons), { changed: true, sequence: 1 });
    assert.deepEqual(await acme.foreign().importBundle(globex.trustDomain, document, sha256), { changed: false, sequence: 1 });
    assert.equal(globex.foreign().exportBundle(globex.trustDomain).sha256, sha256);
    await until('status', () => statusOf(acme, globex)?.sha256 === sha256);
  });

  test('that is older is refused', async () => {
    const [acme, globex] = await pair();
    const old = globex.document();
    globex.advance();
    await until('the newer one', () => sequenceOf(acme, globex) === 2);
    await assert.rejects(acme.foreign().importBundle(globex.trustDomain, old), (e: Error & { code?: string }) => e.code === 'IDENTITY_BUNDLE_REFUSED' && /sequence is 1/.test(e.message));
    assert.equal(sequenceOf(acme, globex), 2);
  });
});

describe('our own names', { timeout: 120_000 }, () => {
  test('can never be declared foreign', async () => {
    const acme = await site('acme.example');
    for (const trustDomain of ['acme.example', acme.trustDomain, 'north.acme.example']) {
      await assert.rejects(acme.foreign().declare({ kind: 'federated-trust-domain', trustDomain, source: { profile: 'file' } }), { code: 'IDENTITY_FOREIGN_IS_OURS' });
    }
  });

  test('written into the store behind our back are not in force (row 44)', async () => {
    const [acme, globex] = [await site('acme.example'), await site('globex.example')];
    const { trustDomain } = acme;
    const forged = { version: 1, bundle: { ...globex.authority.bundle, trustDomain, sequence: 99 }, isNumbered: true, from: 'import', takenAtMs: 1, confirmedAtMs: 1 };
    await acme.store.store.put(keys.federated(trustDomain, 'bundle'), JSON.stringify(forged));
    await acme.store.store.put(keys.federated(trustDomain, 'declared'), JSON.stringify({ kind: 'federated-trust-domain', trustDomain, source: { profile: 'file' } }));
    await until('the declaration', () => acme.foreign().list().length === 1);
    assert.equal(acme.foreign().status()[0]?.state, 'none');
    assert.equal(acme.foreign().bundles.get(trustDomain), undefined);
  });

  test('that join later take the place of a foreign one', async () => {
    const [acme, globex] = await pair();
    acme.own.update(globex.authority.bundle);
    assert.equal(acme.foreign().bundles.get(globex.trustDomain), undefined);
  });
});
