// A resumed handshake is judged as a full one, and whatever changes trust ends every session: on both transports, against each other too.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { IsthmusError, type SpiffeId, type TrustDomain } from '@isthmus/model';
import { type BundleSet, openBundleSet, svidToPem, type SvidSource, type X509Svid } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { east, PAYMENTS_ID, WEB_ID } from '../proxy/testing.ts';
import { Loop } from '../transport/linux/loop.ts';
import { linuxTransport } from '../transport/linux/transport.ts';
import { portableTransport } from '../transport/portable.ts';
import type { ByteStream, SecureStream, Transport } from '../transport/transport.ts';
import { GENERATION_MS } from './generation.ts';

const EAST = 'east.acme.example' as TrustDomain;
const SNI = 'http.payments.shop.svc.east.acme.example';
const errors: unknown[] = [];
const loop = new Loop((error) => errors.push(error), { sharesThread: true });
const closers: (() => void)[] = [];
after(() => {
  closers.forEach((close) => close());
  loop.close();
  assert.deepEqual(errors, []);
});

const transports: readonly Transport[] = [portableTransport(), ...(process.platform === 'linux' ? [linuxTransport(loop)] : [])];

/** A source whose SVID can be replaced, as a renewal does. */
function renewable(id: SpiffeId): SvidSource & { renew(): void; svid: X509Svid } {
  const source = { svid: east.issue(id), current: () => source.svid, onChange: () => () => undefined, renew: () => void (source.svid = east.issue(id)) };
  return source;
}

type Call = { readonly client: boolean; readonly server: boolean; readonly caller: string };
type Rig = {
  readonly serverBundles: BundleSet;
  readonly clientBundles: BundleSet;
  readonly serverSvids: ReturnType<typeof renewable>;
  readonly clientSvids: ReturnType<typeof renewable>;
  readonly port: number;
  /** One connection with an answer read; whether each end says that it was resumed, and whom the server saw. */
  call(over?: object): Promise<Call>;
  /** Why the server refused the next caller. */
  refusal(): Promise<unknown>;
};

async function rig(near: Transport, far: Transport, alpn: readonly string[] = []): Promise<Rig> {
  const [serverBundles, clientBundles] = [openBundleSet([east.bundle]), openBundleSet([east.bundle])];
  const [serverSvids, clientSvids] = [renewable(PAYMENTS_ID), renewable(WEB_ID)];
  const taken: SecureStream[] = [];
  const refused: unknown[] = [];
  const waiting: ((error: unknown) => void)[] = [];
  const listener = await far.listenMutualTls(
    { listen: { host: '127.0.0.1', port: 0 }, label: 'test', allowHalfOpen: true, connections: 100, svids: serverSvids, bundles: serverBundles, timeoutMs: 10_000, alpn: ['h2', 'http/1.1'] },
    (secure) => {
      taken.push(secure);
      closers.push(() => secure.stream.destroy());
      secure.stream.on('error', () => undefined);
      secure.stream.on('data', (chunk) => void secure.stream.write(Buffer.from(chunk)));
    },
    (error) => {
      const next = waiting.shift();
      if (next === undefined) refused.push(error);
      else next(error);
    },
  );
  closers.push(() => listener.close());
  const { port } = listener;
  const dial = { host: '127.0.0.1', port, sni: SNI, expectedId: PAYMENTS_ID, trustDomain: EAST, svids: clientSvids, bundles: clientBundles, timeoutMs: 10_000, allowHalfOpen: true, alpn };
  return {
    serverBundles, clientBundles, serverSvids, clientSvids, port,
    call: async (over = {}) => {
      const dialled = await near.dialMutualTls({ ...dial, ...over });
      dialled.stream.write('question', 'latin1');
      await answered(dialled.stream);
      dialled.stream.destroy(); // without a word: that must not spoil the session
      const accepted = taken.pop();
      assert.ok(accepted !== undefined);
      return { client: dialled.isResumed, server: accepted.isResumed, caller: accepted.peer.spiffeId };
    },
    refusal: () => {
      const ready = refused.shift();
      return ready === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(ready);
    },
  };
}

function answered(stream: ByteStream): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.on('data', () => resolve());
    stream.on('error', reject);
    stream.on('end', () => reject(new Error('ended before it answered')));
    stream.on('close', () => reject(new Error('closed before it answered')));
    if (stream.destroyed) reject(new Error('closed before it answered'));
  });
}

const FULL = { client: false, server: false, caller: WEB_ID };
const RESUMED = { client: true, server: true, caller: WEB_ID };
const reasonOf = (error: unknown): unknown => (error instanceof IsthmusError ? (error.facts['reason'] ?? error.code) : error);

for (const near of transports) {
  for (const far of transports) {
    const claim = (text: string, fn: () => Promise<void>): void => void test(`${near.engine} to ${far.engine}: ${text}`, { timeout: 60_000 }, fn);

    claim('the second connection is resumed and so is the third, and the server sees the same caller with the same chain', async () => {
      const { call } = await rig(near, far, ['http/1.1']);
      assert.deepEqual([await call(), await call(), await call()], [FULL, RESUMED, RESUMED]);
    });

    const changes: readonly (readonly [string, (rig: Rig) => void])[] = [
      ['the server’s SVID is renewed', ({ serverSvids }) => serverSvids.renew()],
      ['the caller’s SVID is renewed', ({ clientSvids }) => clientSvids.renew()],
      ['somebody is banned at the server', ({ serverBundles }) => serverBundles.ban(EAST, [{ spiffeId: PAYMENTS_ID, issuedBeforeMs: Date.now(), expiresAtMs: Date.now() + 3_600_000 }])],
      ['a bundle changes at the server', ({ serverBundles }) => void serverBundles.update({ ...east.bundle, sequence: east.bundle.sequence + 1 })],
      ['a bundle changes at the caller', ({ clientBundles }) => void clientBundles.update({ ...east.bundle, sequence: east.bundle.sequence + 1 })],
      ['a root is revoked at the server', ({ serverBundles }) => serverBundles.revoke(['ab'.repeat(32)])],
      ['another trust domain is trusted at the server', ({ serverBundles }) => void serverBundles.update(testAuthority({ federation: 'acme.example', cluster: 'west' }).bundle)],
    ];
    for (const [what, change] of changes) {
      claim(`a full handshake is made once ${what}, and is resumed after`, async () => {
        const one = await rig(near, far);
        assert.deepEqual([await one.call(), await one.call()], [FULL, RESUMED]);
        change(one);
        assert.deepEqual([await one.call(), await one.call()], [FULL, RESUMED]);
      });
    }

    claim('a root that was taken out is trusted in no session, at either end, and who is banned resumes nothing', async () => {
      const other = testAuthority({ cluster: 'east' });
      const one = await rig(near, far);
      await one.call();
      one.serverBundles.update({ ...other.bundle, sequence: 1_000 });
      await one.call().catch(() => undefined);
      assert.equal(reasonOf(await one.refusal()), 'untrusted');
      const two = await rig(near, far);
      await two.call();
      two.serverBundles.ban(EAST, [{ spiffeId: WEB_ID, issuedBeforeMs: Date.now() + 60_000, expiresAtMs: Date.now() + 3_600_000 }]);
      await two.call().catch(() => undefined);
      assert.equal(reasonOf(await two.refusal()), 'banned');
      two.clientBundles.update({ ...other.bundle, sequence: 1_000 });
      await assert.rejects(two.call(), (error) => reasonOf(error) === 'untrusted');
    });

    claim('a session is offered to nobody else: not for another name, ID or protocol', async () => {
      const { call } = await rig(near, far);
      await call();
      assert.deepEqual(await call({ sni: `grpc.${SNI.slice(5)}` }), FULL);
      assert.deepEqual(await call({ alpn: ['h2'] }), FULL);
      await assert.rejects(call({ expectedId: WEB_ID }), (error) => reasonOf(error) === 'wrong-id');
      assert.deepEqual(await call(), RESUMED);
    });

    claim('an SVID that has run out since its handshake resumes nothing', async () => {
      const one = await rig(near, far);
      await one.call();
      const expired = { ...near.clock, nowMs: () => Date.now() + 7 * 86_400_000 };
      if (near.engine === 'portable') await assert.rejects(one.call({ clock: expired }), (error) => reasonOf(error) === 'expired');
    });
  }
}

for (const far of transports) {
  /** A caller of its own making, which may show any ticket with any certificate. */
  const stranger = (port: number, shown: X509Svid | undefined, session?: Buffer): Promise<{ readonly session: Buffer | undefined; readonly isResumed: boolean; readonly failed: boolean }> =>
    new Promise((resolve) => {
      const pem = shown === undefined ? undefined : svidToPem(shown);
      const socket = connectTls({ host: '127.0.0.1', port, servername: SNI, rejectUnauthorized: false, ...(pem !== undefined && { cert: pem.certPem, key: pem.keyPem }), ...(session !== undefined && { session }) });
      let got: Buffer | undefined;
      let isResumed = false;
      socket.on('session', (s: Buffer) => (got ??= s));
      socket.on('secureConnect', () => {
        isResumed = socket.isSessionReused();
        socket.write('question');
      });
      socket.on('data', () => socket.destroy());
      socket.on('error', () => undefined);
      let failed = true;
      socket.once('data', () => (failed = false));
      socket.once('close', () => resolve({ session: got, isResumed, failed }));
    });

  test(`${far.engine}: a ticket of another server, or of the time before a change, leads to a full handshake`, { timeout: 60_000 }, async () => {
    const [one, two] = [await rig(far, far), await rig(far, far)];
    const caller = east.issue(WEB_ID);
    const { session } = await stranger(one.port, caller);
    assert.ok(session !== undefined);
    assert.equal((await stranger(one.port, caller, session)).isResumed, true);
    assert.deepEqual(await stranger(two.port, caller, session).then(({ isResumed, failed }) => ({ isResumed, failed })), { isResumed: false, failed: false });
    one.serverBundles.update({ ...east.bundle, sequence: 1_000 });
    assert.deepEqual(await stranger(one.port, caller, session).then(({ isResumed, failed }) => ({ isResumed, failed })), { isResumed: false, failed: false });
  });

  test(`${far.engine}: a ticket with one bit altered, wherever it stands, is opened by nobody and leads to a full handshake`, { timeout: 60_000 }, async () => {
    const one = await rig(far, far);
    const caller = east.issue(WEB_ID);
    const { session } = await stranger(one.port, caller);
    assert.ok(session !== undefined);
    const { start, size } = sessionFields(session).ticket;
    assert.ok(size > 64, `a ticket of ${size} bytes`);
    // Of the key's name, of the IV, of what is sealed, of the seal (RFC 5077 §4): nowhere may one bit pass.
    for (const at of [0, 20, size >> 1, size - 1]) {
      const altered = Buffer.from(session);
      altered.writeUInt8(altered.readUInt8(start + at) ^ 1, start + at);
      const { isResumed, failed } = await stranger(one.port, caller, altered);
      assert.deepEqual({ at, isResumed, failed }, { at, isResumed: false, failed: false });
    }
    assert.equal((await stranger(one.port, caller, session)).isResumed, true, 'the ticket itself is still good');
  });

  test(`${far.engine}: a ticket sealed with the key of another server stands in for none of our own`, { timeout: 60_000 }, async () => {
    const [one, two] = [await rig(far, far), await rig(far, far)];
    const caller = east.issue(WEB_ID);
    const own = (await stranger(one.port, caller)).session;
    assert.ok(own !== undefined);
    const to = sessionFields(own).ticket;
    // What is sealed has a few bytes more or less from one handshake to the next: one of the same size comes soon.
    let foreign: Buffer | undefined;
    for (let tries = 0; tries < 50 && (foreign === undefined || sessionFields(foreign).ticket.size !== to.size); tries++) foreign = (await stranger(two.port, caller)).session;
    assert.ok(foreign !== undefined);
    const from = sessionFields(foreign).ticket;
    assert.equal(from.size, to.size);
    // The secret of a session that this server would take up, with a ticket that it cannot open.
    const mixed = Buffer.from(own);
    foreign.copy(mixed, to.start, from.start, from.start + from.size);
    assert.notDeepEqual(mixed, own);
    const { isResumed, failed } = await stranger(one.port, caller, mixed);
    assert.deepEqual({ isResumed, failed }, { isResumed: false, failed: false });
    assert.equal((await stranger(one.port, caller, own)).isResumed, true);
  });

  test(`${far.engine}: who brings no certificate, or a foreign one, is given no ticket`, { timeout: 60_000 }, async () => {
    const one = await rig(far, far);
    for (const [shown, reason] of [[undefined, 'malformed'], [testAuthority({ cluster: 'east' }).issue(WEB_ID), 'untrusted']] as const) {
      const { failed, session } = await stranger(one.port, shown);
      assert.deepEqual([failed, session], [true, undefined]);
      assert.equal(reasonOf(await one.refusal()), reason);
    }
  });

  test(`${far.engine}: a resumed caller is judged by the chain of its full handshake: one whose SVID has run out since is refused`, { timeout: 60_000 }, async (t) => {
    const one = await rig(far, far);
    const caller = east.issue(WEB_ID);
    const { session } = await stranger(one.port, caller);
    assert.ok(session !== undefined);
    assert.equal((await stranger(one.port, caller, session)).isResumed, true);
    const realNow = Date.now;
    t.mock.method(Date, 'now', () => realNow() + 2 * 3_600_000);
    assert.equal((await stranger(one.port, caller, session)).failed, true);
    assert.equal(reasonOf(await one.refusal()), 'expired');
  });

  test(`${far.engine}: tickets allow no early data, and none is issued for longer than an hour`, { timeout: 60_000 }, async () => {
    const one = await rig(far, far);
    const { session } = await stranger(one.port, east.issue(WEB_ID));
    assert.ok(session !== undefined);
    // SSL_SESSION in DER: [9] is the ticket’s lifetime in seconds as its server told, [15] max_early_data, left out where it is 0.
    const { lifetimeSeconds, hasEarlyData } = sessionFields(session);
    assert.equal(hasEarlyData, false);
    assert.ok(lifetimeSeconds <= GENERATION_MS / 1_000, `${lifetimeSeconds} s`);
  });
}

test('a source without an SVID opens nothing', async () => {
  for (const near of transports) {
    const none: SvidSource = { current: () => undefined, onChange: () => () => undefined };
    await assert.rejects(near.dialMutualTls({ host: '127.0.0.1', port: 9, sni: SNI, expectedId: PAYMENTS_ID, trustDomain: EAST, svids: none, bundles: openBundleSet([]), timeoutMs: 1_000 }), { code: 'DATAPLANE_NO_IDENTITY' });
  }
});

/** Reads the explicit context tags of a DER sequence. **Source** OpenSSL `ssl/ssl_asn1.c`. */
function sessionFields(der: Buffer): { readonly lifetimeSeconds: number; readonly hasEarlyData: boolean; readonly ticket: { readonly start: number; readonly size: number } } {
  let at = 0;
  const header = (): { readonly tag: number; readonly size: number } => {
    const tag = der.readUInt8(at);
    const first = der.readUInt8(at + 1);
    const bytes = first < 0x80 ? 0 : first - 0x80;
    const size = bytes === 0 ? first : der.readUIntBE(at + 2, bytes);
    at += 2 + bytes;
    return { tag, size };
  };
  // Node puts a few bytes of its own before it: version 1 of the structure, for TLS 1.3, is where it begins.
  at = der.indexOf(Buffer.from('02010102020304', 'hex'));
  assert.ok(at > 0);
  const fields = new Map<number, Buffer>();
  let ticket = { start: 0, size: 0 };
  while (at < der.length) {
    const { tag, size } = header();
    fields.set(tag, der.subarray(at, at + size));
    if (tag === 0xaa) {
      // [10] is the ticket as the server sealed it, an OCTET STRING.
      const end = at + size;
      const inner = header();
      ticket = { start: at, size: inner.size };
      at = end;
    } else at += size;
  }
  const lifetime = fields.get(0xa9);
  assert.ok(lifetime !== undefined);
  return { lifetimeSeconds: lifetime.readUIntBE(2, lifetime.length - 2), hasEarlyData: fields.has(0xaf), ticket };
}
