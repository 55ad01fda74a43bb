import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { nextSequence, parseClusterRecord, parseDigest } from './digest.ts';

const DIGEST = { kind: 'digest', cluster: 'east', namespace: 'shop', name: 'payments', sequence: 1, ports: [{ name: 'http', port: 80, protocol: 'http' }], readyCount: 2, totalCount: 3, readyWeight: 200 };

test('a sequence always grows, and jumps past the clock after an old backup', () => {
  assert.equal(nextSequence(5, 1_000), 1_000);
  assert.equal(nextSequence(2_000, 1_000), 2_001, 'a clock that went back changes nothing');
  fc.assert(fc.property(fc.nat(), fc.nat(), (last, nowMs) => assert.ok(nextSequence(last, nowMs) > last && nextSequence(last, nowMs) >= nowMs)));
});

test('a digest is taken with fields of a later version, and refused with counts below zero or without ports', () => {
  assert.ok(parseDigest({ ...DIGEST, addedLater: 1 }).ok);
  for (const over of [{ readyCount: -1 }, { ports: [] }, { sequence: 0 }, { cluster: 'East' }, { kind: 'cluster' }]) assert.ok(!parseDigest({ ...DIGEST, ...over }).ok, JSON.stringify(over));
});

test('a cluster record holds gateways as host:port only', () => {
  const record = { kind: 'cluster', cluster: 'east', trustDomain: 'east.acme.example', locality: 'eu', gateways: ['gw:15443'], sequence: 1 };
  assert.ok(parseClusterRecord(record).ok);
  assert.ok(!parseClusterRecord({ ...record, gateways: ['gw'] }).ok);
});
