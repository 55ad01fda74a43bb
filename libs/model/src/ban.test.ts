import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Ban, type BansView, parseBan } from './ban.ts';
import { MAX_BANS } from './max-bans.ts';
import { parseSnapshotResource, resourceName } from './snapshot.ts';

const ban: Ban = {
  kind: 'ban',
  id: '0123456789abcdef',
  cluster: 'east',
  trustDomain: 'east.acme.example',
  spiffeId: 'spiffe://east.acme.example/agent/vm-1',
  holder: '0123456789',
  issuedBeforeMs: 1,
  expiresAtMs: 2,
  bannedAtMs: 1,
  reason: '',
  lifted: false,
  sequence: 1,
};

test('a ban is read with its bounds, and with fields of a later version', () => {
  assert.equal(parseBan({ ...ban, novelty: 1 }).ok, true);
  for (const bad of [{ id: 'x' }, { holder: 'zz' }, { issuedBeforeMs: -1 }, { reason: 'x'.repeat(201) }, { lifted: 'no' }, { spiffeId: 'x'.repeat(3_000) }]) {
    assert.equal(parseBan({ ...ban, ...bad }).ok, false, JSON.stringify(bad).slice(0, 60));
  }
});

test('the bans of a trust domain are one resource of a snapshot, bounded', () => {
  const view: BansView = { kind: 'bans', trustDomain: 'east.acme.example', bans: [{ spiffeId: ban.spiffeId, issuedBeforeMs: 1, expiresAtMs: 2 }] };
  assert.equal(parseSnapshotResource(view).ok, true);
  assert.equal(resourceName(view), 'bans/east.acme.example');
  assert.equal(parseSnapshotResource({ ...view, bans: Array.from({ length: MAX_BANS + 1 }, () => view.bans[0]) }).ok, false);
});
