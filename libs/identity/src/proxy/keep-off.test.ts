import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import type { SpiffeId } from '@isthmus/model';
import { generateKey, makeX509Svid, sha256Hex, signRoot, signSvid, type X509Svid } from '@isthmus/pki';
import { systemClock } from '@isthmus/runtime';
import { until } from '../testing.ts';
import { type Holder, openKeepOff } from './keep-off.ts';

const life = { nowMs: Date.now(), ttlMs: 3_600_000 };
const makeRoot = () => {
  const key = generateKey();
  const cert = signRoot({ key, federation: 'acme.example' as Parameters<typeof signRoot>[0]['federation'], ...life });
  return { cert, key, sha256: sha256Hex(cert) };
};
const [old, next] = [makeRoot(), makeRoot()];
const svidUnder = (issuer: typeof old): X509Svid => {
  const key = generateKey();
  return makeX509Svid([signSvid({ issuer, publicKey: createPublicKey(key), spiffeId: 'spiffe://acme.example/agent/a' as SpiffeId, ...life })], key);
};
const authorities = () => [old, next].map((r) => r.cert.toString('base64'));

function holder(first: X509Svid | undefined, renewals: (X509Svid | undefined)[]): Holder & { set(svid: X509Svid): void; calls: number } {
  let current = first;
  return {
    calls: 0,
    current: () => current,
    set(svid) {
      current = svid;
    },
    async renewNow() {
      this.calls += 1;
      current = renewals.shift() ?? current;
    },
  };
}

test('what hangs on a retiring root is renewed, again until it no longer does; the rest is left alone', async () => {
  const stubborn = holder(svidUnder(old), [svidUnder(old), svidUnder(next)]);
  const fine = holder(svidUnder(next), []);
  const keepOff = openKeepOff({ holders: () => [stubborn, fine], authorities, clock: systemClock, random: () => 0 });
  keepOff.hint({ retiring: [old.sha256], revoked: [], spreadMs: 0 });
  await until(() => stubborn.calls === 2, 'it was renewed twice');
  assert.equal(fine.calls, 0);
  keepOff.close();
});

test('one that comes from disk after the hint is renewed too', async () => {
  const late = holder(undefined, [svidUnder(next)]);
  const keepOff = openKeepOff({ holders: () => [late], authorities, clock: systemClock, random: () => 0 });
  keepOff.hint({ retiring: [old.sha256], revoked: [], spreadMs: 0 });
  late.set(svidUnder(old));
  keepOff.look();
  await until(() => late.calls === 1, 'it was renewed');
  keepOff.close();
});
