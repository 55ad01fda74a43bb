import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Bundle, Member } from '@isthmus/model';
import { silentLog } from '@isthmus/telemetry';
import { bundleToWire, memberToWire } from '../wire.ts';
import { openKnownFederation } from './federation-view.ts';

const bundle = (trustDomain: string, sequence: number, authority = 'AAAA'): Bundle => ({ trustDomain, sequence, refreshHintSeconds: 300, x509Authorities: [authority] });
const member = (cluster: string): Member => ({ cluster, trustDomain: `${cluster}.acme.example`, locality: '', gateways: [] });
const view = (bundles: Bundle[], members: Member[]) => ({ federation: 'acme.example', bundles: bundles.map(bundleToWire), members: members.map(memberToWire), roots: [], revokedAuthorities: [] });
const own = [bundle('east.acme.example', 0), bundle('acme.example', 0)];
const open = () => openKnownFederation(undefined, own, 'acme.example', silentLog());

test('a bundle with an older sequence is not taken', () => {
  const known = open();
  known.take(view([bundle('west.acme.example', 5, 'BBBB')], []));
  known.take(view([bundle('west.acme.example', 4, 'CCCC')], []));
  assert.equal(known.bundles.get('west.acme.example')?.x509Authorities[0], 'BBBB');
  known.take(view([bundle('west.acme.example', 6, 'DDDD')], []));
  assert.equal(known.bundles.get('west.acme.example')?.x509Authorities[0], 'DDDD');
});

test('a view without a member takes its bundle away, but never this cluster’s own', () => {
  const known = open();
  known.take(view([bundle('west.acme.example', 1)], [member('east'), member('west')]));
  known.take(view([], []));
  assert.deepEqual(known.bundles.all().map((b) => b.trustDomain).sort(), ['acme.example', 'east.acme.example']);
});

test('a member that does not parse is kept as it was last heard', () => {
  const known = open();
  known.take(view([bundle('west.acme.example', 1)], [member('east'), member('west')]));
  const broken = view([bundle('west.acme.example', 1)], [member('east'), { ...member('west'), locality: 'x'.repeat(500) }]);
  known.take(broken);
  assert.deepEqual(known.members().map((m) => m.cluster), ['east', 'west']);
  assert.equal(known.members()[1]?.locality, '');
});

test('a view of another federation changes nothing', () => {
  const known = open();
  assert.equal(known.take({ ...view([], [member('east')]), federation: 'evil.example' }), false);
  assert.deepEqual(known.members(), []);
});

test('listeners hear a change of members once, and nothing when it stays the same', () => {
  const known = open();
  let heard = 0;
  known.onMembers(() => heard++);
  known.take(view([], [member('east')]));
  known.take(view([], [member('east')]));
  assert.equal(heard, 1);
});

test('what was kept on disk is known at once', () => {
  const first = open();
  first.take(view([bundle('west.acme.example', 3)], [member('west')]));
  const second = openKnownFederation(first.toState(), own, 'acme.example', silentLog());
  assert.equal(second.bundles.get('west.acme.example')?.sequence, 3);
  assert.equal(second.members()[0]?.cluster, 'west');
});
