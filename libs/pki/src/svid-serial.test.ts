import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import type { SpiffeId } from '@isthmus/model';
import { svidFacts } from './ban-index.ts';
import { holderTag, readSvidSerial, svidSerial } from './svid-serial.ts';
import { testAuthority } from './testing.ts';

const AGENT = 'spiffe://east.acme.example/agent/vm-1' as SpiffeId;

test('a serial number says who asked and when, is 20 bytes, positive, and never the same twice', () => {
  const nowMs = 1_790_000_000_123;
  const serials = Array.from({ length: 1_000 }, () => svidSerial(AGENT, nowMs).toString('hex'));
  assert.equal(new Set(serials).size, 1_000);
  for (const serial of serials) assert.deepEqual(readSvidSerial(serial), { holder: holderTag(AGENT), issuedAtMs: nowMs });
  assert.equal(serials[0]?.length, 40);
  assert.ok((Buffer.from(serials[0] ?? '', 'hex')[0] ?? 0x80) < 0x80);
});

test('an SVID and the CA above it carry it, and what another issuer numbered counts from its notBefore', () => {
  const nowMs = Date.now();
  const authority = testAuthority({ nowMs: nowMs - 5_000 });
  const { chain } = authority.issue(AGENT, { nowMs });
  const ca = 'spiffe://east.acme.example';
  assert.deepEqual(svidFacts(AGENT, chain), [
    { spiffeId: AGENT, holder: holderTag(AGENT), issuedAtMs: nowMs },
    { spiffeId: ca, holder: holderTag(ca), issuedAtMs: nowMs - 5_000 },
  ]);
  for (const other of ['', '00', 'ff'.repeat(20), '49'.repeat(19), '7b'.repeat(16), 'zz'.repeat(20)]) assert.equal(readSvidSerial(other), undefined, other);
  const foreign = svidFacts(AGENT, [authority.root.cert]);
  assert.deepEqual(foreign, [{ spiffeId: AGENT, holder: undefined, issuedAtMs: Date.parse(new X509Certificate(authority.root.cert).validFrom) }]);
});
