import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { svidFacts } from './ban-index.ts';
import { holderTag, readSvidSerial, svidSerial } from './svid-serial.ts';
import { testAuthority } from './testing.ts';

const AGENT = 'spiffe://east.acme.example/agent/vm-1';

test('a serial number says who asked and when, is 20 bytes, positive, and never the same twice', () => {
  const nowMs = 1_790_000_000_123;
  const serials = Array.from({ length: 1_000 }, () => svidSerial(AGENT, nowMs).toString('hex'));
  assert.equal(new Set(serials).size, 1_000);
  for (const serial of serials) assert.deepEqual(readSvidSerial(serial), { holder: holderTag(AGENT), issuedAtMs: nowMs });
  assert.equal(serials[0]?.length, 40);
  assert.ok((Buffer.from(serials[0] ?? '', 'hex')[0] ?? 0x80) < 0x80);
});

test('an SVID carries it, and what another issuer numbered counts from its notBefore', () => {
  const nowMs = Date.now();
  const svid = testAuthority().issue(AGENT, { nowMs });
  const [leaf] = svid.chain;
  assert.ok(leaf);
  assert.deepEqual(svidFacts(AGENT, leaf), { spiffeId: AGENT, holder: holderTag(AGENT), issuedAtMs: nowMs });
  for (const other of ['', '00', 'ff'.repeat(20), '49'.repeat(19), '7b'.repeat(16), 'zz'.repeat(20)]) assert.equal(readSvidSerial(other), undefined, other);
  const authority = svid.chain[1] ?? Buffer.alloc(0);
  const facts = svidFacts('spiffe://east.acme.example', authority);
  assert.deepEqual(facts, { spiffeId: 'spiffe://east.acme.example', holder: undefined, issuedAtMs: Date.parse(new X509Certificate(authority).validFrom) });
});
