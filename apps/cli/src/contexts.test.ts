import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { contextsDir, findContext, identityDir, readContexts, removeContext, saveContext, useContext } from './contexts.ts';

const EAST = { cluster: 'east', federation: 'acme.example', server: '10.0.0.1:15443', api: '10.0.0.1:15443' };
let dir: string;
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), 'isthmus-contexts-')), 'home');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('a saved context is the current one, in a file only its owner may read', async () => {
  await saveContext('prod', EAST, dir);
  assert.equal(statSync(join(dir, 'contexts.json')).mode & 0o777, 0o600);
  assert.deepEqual(await findContext(undefined, dir), { ...EAST, name: 'prod', identityDir: identityDir('prod', dir) });
  await saveContext('test', { ...EAST, cluster: 'west' }, dir);
  assert.equal((await findContext(undefined, dir))?.cluster, 'west');
  assert.equal((await findContext('prod', dir))?.cluster, 'east');
  await useContext('prod', dir);
  assert.equal((await findContext(undefined, dir))?.name, 'prod');
});

test('a context that is removed is gone with its identity, and none is current then', async () => {
  await saveContext('prod', EAST, dir);
  mkdirSync(identityDir('prod', dir), { recursive: true });
  await removeContext('prod', dir);
  assert.equal(await findContext(undefined, dir), undefined);
  assert.throws(() => statSync(identityDir('prod', dir)));
});

test('a name that is not there, or is none, is said to be so', async () => {
  await saveContext('prod', EAST, dir);
  await assert.rejects(findContext('staging', dir), { code: 'CLI_CONTEXT_UNKNOWN', hint: 'contexts: prod' });
  await assert.rejects(useContext('__proto__', dir), { code: 'CLI_CONTEXT_UNKNOWN' });
  await assert.rejects(saveContext('../up', EAST, dir), { code: 'CLI_BAD_INPUT' });
});

test('a file others may read, or that is broken, is refused and left as it is', async () => {
  await saveContext('prod', EAST, dir);
  const path = join(dir, 'contexts.json');
  chmodSync(path, 0o644);
  await assert.rejects(readContexts(dir), { code: 'STATE_EXPOSED' });
  writeFileSync(path, '{"contexts":{"prod":{"cluster":"east"}}}');
  chmodSync(path, 0o600);
  await assert.rejects(readContexts(dir), { code: 'CLI_CONTEXTS_BROKEN', message: /contexts\.prod/ });
  writeFileSync(path, '{');
  await assert.rejects(useContext('prod', dir), { code: 'CLI_CONTEXTS_BROKEN' });
});

test('contexts lie where the environment says', () => {
  assert.equal(contextsDir({ ISTHMUS_HOME: '/a' }), '/a');
  assert.equal(contextsDir({ XDG_CONFIG_HOME: '/x' }), '/x/isthmus');
});
