import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TrustDomain } from '@isthmus/model';
import { testAuthority } from '@isthmus/pki/testing';
import { silentLog } from '@isthmus/telemetry';
import { openKnownFederation, ownBundles } from './federation-view.ts';
import { keepView } from './kept-view.ts';
import type { ViewState } from './state.ts';

test('held is what is in force and on disk: not what could not be written, and told once it is', async () => {
  const { trustDomain, root, bundle } = testAuthority();
  const known = openKnownFederation(undefined, ownBundles(root.cert, trustDomain, 'acme.example' as TrustDomain), 'acme.example', silentLog());
  let problem: Error | undefined = new Error('the disk is full');
  let kept = 0;
  const write = async (_state: ViewState): Promise<void> => {
    if (problem !== undefined) throw problem;
  };
  const view = keepView({ views: { read: async () => undefined, write, checkWritable: async () => undefined }, cached: undefined, known, onKept: () => (kept += 1), log: silentLog() });
  known.bundles.update({ ...bundle, sequence: 7 });
  await view.save();
  assert.deepEqual([view.held(), kept], [{}, 0]);
  problem = undefined;
  await view.save();
  assert.deepEqual([view.held(), kept], [{ [trustDomain]: 7, 'acme.example': 0 }, 1]);
  known.bundles.update({ ...bundle, sequence: 8 });
  assert.equal(view.held()[trustDomain], 7, 'the newer one is in force and not on disk yet');
  await view.close();
  known.close();
});
