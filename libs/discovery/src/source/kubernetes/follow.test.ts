import assert from 'node:assert/strict';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import type { Access } from './kubeconfig.ts';
import { type ApiLimits, type KubernetesApi, openKubernetesApi } from './api.ts';
import { follow, type Followed, followMetrics } from './follow.ts';
import { SERVICES } from './kinds.ts';
import type { KubeService } from './objects.ts';
import { aKubeService, type ScriptedApiServer, startScriptedApiServer } from './scripted-api-server.ts';
import { until } from '../../testing.ts';

const PATH = SERVICES.path(undefined);
let server: ScriptedApiServer;
const opened: { close(): Promise<void> }[] = [];

beforeEach(async () => {
  server = await startScriptedApiServer();
});
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one.close();
  await server.close();
});

function start(options: { readonly access?: Partial<Access>; readonly limits?: Partial<ApiLimits>; readonly pageCount?: number; readonly maxObjects?: number; readonly onChange?: (keys: readonly string[]) => void } = {}): Followed<KubeService> {
  const api: KubernetesApi = openKubernetesApi({ access: { server: server.url, ...options.access }, clock: systemClock, ...(options.limits && { limits: options.limits }) });
  const followed = follow({
    api,
    kind: SERVICES,
    onChange: options.onChange ?? (() => undefined),
    clock: systemClock,
    random: systemRandom,
    log: silentLog(),
    metrics: followMetrics(openMetrics()),
    pageCount: options.pageCount,
    maxObjects: options.maxObjects,
    backoffMs: { base: 5, max: 20 },
  });
  opened.push(api, followed);
  return followed;
}
const names = (followed: Followed<KubeService>): string[] => [...followed.items.keys()].sort();
const isCurrent = (followed: Followed<KubeService>): boolean => {
  const state = followed.state();
  return state.kind === 'known' && state.current;
};

test('what is there is listed page by page, then every change comes by one watch', async () => {
  for (let i = 0; i < 7; i += 1) server.put(PATH, aKubeService(`s${i}`));
  const changes: string[] = [];
  const followed = start({ pageCount: 3, onChange: (keys) => changes.push(...keys) });
  assert.equal(followed.state().kind, 'unknown', 'before the first list nothing is said');
  await until(() => isCurrent(followed), 'a watch');
  assert.equal(names(followed).length, 7);
  assert.equal(server.asked.filter((a) => !a.query.has('watch')).length, 3, 'pages of three');
  changes.length = 0;
  server.put(PATH, aKubeService('new'));
  server.put(PATH, aKubeService('s0', { spec: { ports: [{ name: 'http', port: 81 }] } }));
  server.delete(PATH, 'shop', 's1');
  await until(() => !followed.items.has('shop/s1'), 'the changes');
  assert.deepEqual(changes, ['shop/new', 'shop/s0', 'shop/s1']);
  assert.equal(followed.items.get('shop/s0')?.ports[0]?.port, 81);
  assert.equal(server.asked.filter((a) => a.query.has('watch')).length, 1);
});

test('a server that has forgotten the version is listed anew, and only what differs is told', async () => {
  for (const name of ['a', 'b', 'c']) server.put(PATH, aKubeService(name));
  const changes: string[][] = [];
  const followed = start({ onChange: (keys) => changes.push([...keys]) });
  await until(() => isCurrent(followed), 'a watch');
  changes.length = 0;
  let lists = 0;
  // Between the end of the watch and the new list something goes, something comes, something changes.
  server.mischief = ({ isWatch }) => {
    if (!isWatch && lists++ === 0) {
      server.mischief = undefined;
      server.delete(PATH, 'shop', 'a');
      server.put(PATH, aKubeService('d'));
      server.put(PATH, aKubeService('c', { spec: { type: 'NodePort' } }));
    }
    return false;
  };
  server.forget();
  await until(() => followed.items.has('shop/d') && isCurrent(followed), 'the list after 410');
  assert.deepEqual(names(followed), ['shop/b', 'shop/c', 'shop/d']);
  assert.deepEqual(changes.map((keys) => keys.sort()), [['shop/a', 'shop/c', 'shop/d']]);
});

test('half a list removes nothing: it takes the place of what was known only when it is whole', async () => {
  for (let i = 0; i < 6; i += 1) server.put(PATH, aKubeService(`s${i}`));
  const followed = start({ pageCount: 2 });
  await until(() => isCurrent(followed), 'a watch');
  let broken = 0;
  server.mischief = ({ isWatch, query }, response) => {
    if (isWatch || query.get('continue') !== '4') return false;
    broken += 1;
    response.destroy();
    return true;
  };
  server.delete(PATH, 'shop', 's0');
  await until(() => followed.items.size === 5, 'the deletion');
  server.forget();
  await until(() => broken >= 3, 'lists that break off at the last page');
  assert.equal(followed.items.size, 5);
  assert.equal(isCurrent(followed), false);
  assert.match(followed.problem() ?? '', /cannot be reached/);
  server.mischief = undefined;
  await until(() => isCurrent(followed), 'a whole list');
  assert.equal(followed.items.size, 5);
});

test('pages that are forgotten half-way are asked for as one the next time', async () => {
  for (let i = 0; i < 6; i += 1) server.put(PATH, aKubeService(`s${i}`));
  server.mischief = ({ query }, response) => {
    if (!query.has('continue')) return false;
    response.writeHead(410).end(JSON.stringify({ code: 410, reason: 'Expired', message: 'continue too old' }));
    return true;
  };
  const followed = start({ pageCount: 2 });
  await until(() => isCurrent(followed), 'a list in one piece');
  assert.equal(followed.items.size, 6);
});

const ANSWERS: readonly (readonly [string, number, string])[] = [
  ['500', 500, '{"code":500,"message":"boom"}'],
  ['403', 403, '{"code":403,"reason":"Forbidden","message":"services is forbidden"}'],
  ['404, as while custom resources are being set up', 404, '404 page not found'],
  ['an empty body', 200, ''],
  ['a list without a version', 200, '{"metadata":{},"items":[]}'],
  ['no JSON', 200, '<html>login</html>'],
  ['a Status instead of a list', 200, '{"kind":"Status","status":"Failure"}'],
];
for (const [name, status, body] of ANSWERS) {
  test(`an API server that answers every list with ${name} leaves what is known as it is`, async () => {
    server.put(PATH, aKubeService('a'));
    const followed = start();
    await until(() => isCurrent(followed), 'a watch');
    let answered = 0;
    server.mischief = ({ isWatch }, response) => {
      if (isWatch) return false;
      answered += 1;
      response.writeHead(status).end(body);
      return true;
    };
    server.forget();
    await until(() => answered >= 2, 'bad answers');
    assert.deepEqual(names(followed), ['shop/a']);
    assert.notEqual(followed.problem(), undefined);
    server.mischief = undefined;
    await until(() => isCurrent(followed), 'recovery');
  });
}

test('an API server that is away leaves what is known, says how old it is, and a short cut loses no place', async () => {
  server.put(PATH, aKubeService('a'));
  const followed = start();
  await until(() => isCurrent(followed), 'a watch');
  const listsBefore = server.asked.filter((a) => !a.query.has('watch')).length;
  server.cut();
  await until(() => server.asked.filter((a) => a.query.has('watch')).length >= 2 && isCurrent(followed), 'a new watch');
  assert.equal(server.asked.filter((a) => !a.query.has('watch')).length, listsBefore, 'a cut watch goes on from where it was');
  server.put(PATH, aKubeService('b'));
  await until(() => followed.items.size === 2, 'events after the cut');
  const state = followed.state();
  await server.close();
  await until(() => !isCurrent(followed), 'the loss');
  assert.equal(followed.items.size, 2);
  const after = followed.state();
  assert.ok(state.kind === 'known' && after.kind === 'known' && after.heardAtMs >= state.heardAtMs && after.heardAtMs <= Date.now());
});

test('a watch that falls silent is opened anew', async () => {
  server.put(PATH, aKubeService('a'));
  const followed = start({ limits: { silenceMs: 100 } });
  await until(() => server.asked.filter((a) => a.query.has('watch')).length >= 3, 'new watches');
  assert.equal(followed.items.size, 1);
});

test('an object that cannot be read is set aside by name, its last good form stays, the others go on', async () => {
  server.put(PATH, aKubeService('a'));
  const followed = start();
  await until(() => isCurrent(followed), 'a watch');
  server.put(PATH, aKubeService('a', { spec: { ports: [{ port: 70_000 }] } }));
  server.put(PATH, aKubeService('b'));
  await until(() => followed.items.has('shop/b'), 'the next object');
  assert.equal(followed.items.get('shop/a')?.ports[0]?.port, 80);
  assert.match(followed.refused().get('shop/a') ?? '', /spec\.ports\[0\]\.port/);
  server.forget();
  await until(() => server.asked.filter((a) => a.query.has('watch')).length >= 2 && isCurrent(followed), 'a new list');
  assert.equal(followed.items.get('shop/a')?.ports[0]?.port, 80, 'also after a new list');
  server.put(PATH, aKubeService('a'));
  await until(() => followed.refused().size === 0, 'the repair');
});

test('an object larger than the limit, or a line without an end, ends the watch and not the process', async () => {
  server.put(PATH, aKubeService('a'));
  const followed = start({ limits: { lineBytes: 2_000 } });
  await until(() => isCurrent(followed), 'a watch');
  server.put(PATH, aKubeService('huge', { labels: { x: 'x'.repeat(5_000) } }));
  await until(() => followed.items.has('shop/huge'), 'the list that follows takes it');
  assert.equal(followed.items.size, 2);
});

test('more objects than allowed are not taken, what is known stays', async () => {
  for (const name of ['a', 'b']) server.put(PATH, aKubeService(name));
  const followed = start({ maxObjects: 2 });
  await until(() => isCurrent(followed), 'a watch');
  server.put(PATH, aKubeService('c'));
  await until(() => followed.problem()?.includes('more than 2 objects') === true, 'the refusal');
  assert.ok(followed.items.size >= 2);
});

test('the token is read anew at every call, since it rotates', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kube-token-'));
  const file = join(dir, 'token');
  await writeFile(file, 'first\n');
  const followed = start({ access: { token: { file } } });
  await until(() => isCurrent(followed), 'a watch');
  await writeFile(`${file}.new`, 'second\n');
  await rename(`${file}.new`, file);
  server.forget();
  await until(() => server.asked.some((a) => a.authorization === 'Bearer second'), 'the new token');
  assert.equal(server.asked[0]?.authorization, 'Bearer first');
  await rm(file);
  server.forget();
  await until(() => followed.problem()?.includes('token') === true, 'a token file that is gone');
  assert.equal(followed.state().kind, 'known');
  await rm(dir, { recursive: true });
});
