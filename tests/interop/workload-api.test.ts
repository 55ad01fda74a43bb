// The Workload API of an agent before clients no one here wrote: go-spiffe and py-spiffe.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findProgram, run, waitFor } from '@isthmus/harness';
import { type SpiffeAgent, startSpiffeAgent } from './spiffe-agent.ts';

const directory = mkdtempSync(join(tmpdir(), 'isthmus-workload-'));
chmodSync(directory, 0o755); // another user runs what is in it
const [goClient, pySpiffe] = await Promise.all([buildGoClient(), installPySpiffe()]);
const skipGo = 'reason' in goClient ? goClient.reason : false;
const skipPython = 'reason' in pySpiffe ? pySpiffe.reason : false;
const children = new Set<ChildProcess>();
let agent: SpiffeAgent;

before(
  async () => {
    const path = 'path' in goClient ? goClient.path : '/nonexistent';
    agent = await startSpiffeAgent([
      { service: { namespace: 'shop', name: 'cart' }, port: 18_080, selectors: { uid: process.getuid?.() ?? 0, path } },
      { service: { namespace: 'shop', name: 'payments' }, port: 18_081, selectors: { uid: process.getuid?.() ?? 0 } },
      { service: { namespace: 'shop', name: 'unserved' }, port: 18_082 },
    ]);
  },
  { timeout: 120_000 },
);
after(async () => {
  for (const child of children) child.kill('SIGKILL');
  await agent.close();
  rmSync(directory, { recursive: true, force: true });
});

async function buildGoClient(): Promise<{ readonly path: string } | { readonly reason: string }> {
  if (findProgram('go') === undefined) return { reason: 'Go is not installed (apt-get install golang-go)' };
  const path = join(directory, 'go-workload');
  const cwd = fileURLToPath(new URL('./go-spiffe', import.meta.url));
  const built = await run('go', ['build', '-o', path, '.'], { cwd, limitMs: 240_000 });
  return built.code === 0 ? { path } : { reason: `the go-spiffe program could not be built: ${built.stderr.trim().split('\n').at(-1)}` };
}

/** The libraries of py-spiffe in a directory of this test's; the program itself is Python's. */
async function installPySpiffe(): Promise<{ readonly path: string } | { readonly reason: string }> {
  const python = findProgram('python3');
  if (python === undefined) return { reason: 'Python is not installed (apt-get install python3 python3-pip)' };
  const path = join(directory, 'py-spiffe');
  const installed = await run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--root-user-action', 'ignore', '--target', path, 'spiffe==0.3.2'], { limitMs: 240_000 });
  return installed.code === 0 ? { path } : { reason: `py-spiffe could not be installed: ${installed.stderr.trim().split('\n').at(-1)}` };
}

type X509 = { readonly svids: readonly { readonly id: string; readonly hint: string; readonly serial: string; readonly verifies: boolean }[]; readonly bundles: Readonly<Record<string, number>> };

const documentsOf = (text: string): unknown[] => text.trim().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as unknown);

async function go(...args: readonly string[]): Promise<unknown[]> {
  const [mode = '', ...rest] = args;
  const finished = await run('path' in goClient ? goClient.path : '', [mode, agent.socketPath, ...rest], { limitMs: 60_000 });
  return documentsOf(finished.stdout);
}

const pythonEnv = (): Readonly<Record<string, string>> => ({ PYTHONPATH: 'path' in pySpiffe ? pySpiffe.path : '', PYTHONDONTWRITEBYTECODE: '1' });
const PYTHON_WORKLOAD = fileURLToPath(new URL('./py-spiffe/workload.py', import.meta.url));

async function python(...args: readonly string[]): Promise<unknown[]> {
  const [mode = '', ...rest] = args;
  const finished = await run('python3', [PYTHON_WORKLOAD, mode, agent.socketPath, ...rest], { limitMs: 60_000, env: pythonEnv() });
  return documentsOf(finished.stdout);
}

/** Runs a program that goes on, with its lines so far. */
function watch(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): { readonly documents: readonly X509[]; stop(): void } {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...env } });
  children.add(child);
  const documents: X509[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => documents.push(JSON.parse(line) as X509));
  return { documents, stop: () => child.kill('SIGKILL') };
}

test('go-spiffe gets the identities its process has, the first as the default, and the other clusters’ bundles', { skip: skipGo, timeout: 120_000 }, async () => {
  const [found] = (await go('fetch')) as X509[];
  assert.deepEqual(found?.svids.map(({ id, hint, verifies }) => ({ id, hint, verifies })), [
    { id: `spiffe://${agent.trustDomain}/ns/shop/svc/cart`, hint: 'shop/cart', verifies: true },
    { id: `spiffe://${agent.trustDomain}/ns/shop/svc/payments`, hint: 'shop/payments', verifies: true },
  ]);
  const federation = agent.mesh.topology.federation;
  assert.deepEqual(found.bundles, { [agent.trustDomain]: 1, [`west.${federation}`]: 1, [federation]: 1 });
});

// Most of this is waiting for the same renewals.
describe('told of renewals', { concurrency: true }, () => {
  test('go-spiffe is told of a renewal while it watches', { skip: skipGo, timeout: 120_000 }, async () => {
    const watching = watch('path' in goClient ? goClient.path : '', ['watch', agent.socketPath]);
    const serials = (): Set<string> => new Set(watching.documents.flatMap((d) => d.svids.filter((s) => s.verifies && s.hint === 'shop/cart').map((s) => s.serial)));
    await waitFor('three serials of one identity', 90_000, () => serials().size >= 3 || undefined);
    watching.stop();
  });

  test('py-spiffe is told of a renewal while it watches', { skip: skipPython, timeout: 120_000 }, async () => {
    const watching = watch('python3', [PYTHON_WORKLOAD, 'watch', agent.socketPath], pythonEnv());
    const serials = (): Set<string> => new Set(watching.documents.flatMap((d) => (d.svids ?? []).map((s) => s.serial)));
    await waitFor('three serials', 90_000, () => serials().size >= 3 || undefined);
    watching.stop();
  });
});

type Token = { readonly id: string; readonly token: string; readonly hint?: string; readonly expiresAtMs?: number };
type Answer = { readonly id?: string; readonly error?: string; readonly code?: string };

test('go-spiffe gets a token, has it checked by the agent, and checks it itself by the bundles served', { skip: skipGo, timeout: 120_000 }, async () => {
  const tokens = (await go('jwt', 'ledger')) as Token[];
  assert.deepEqual(tokens.map((t) => t.hint), ['shop/cart', 'shop/payments']);
  const [{ id, token, expiresAtMs = 0 } = { id: '', token: '' }] = tokens;
  assert.ok(expiresAtMs > Date.now() && expiresAtMs <= Date.now() + 300_000);
  assert.equal(((await go('validate', 'ledger', token))[0] as Answer).id, id);
  assert.equal(((await go('verify', 'ledger', token))[0] as Answer).id, id);
  assert.equal(((await go('validate', 'another', token))[0] as Answer).code, 'InvalidArgument');
  assert.match(((await go('verify', 'another', token))[0] as Answer).error ?? '', /audience/);
  const other = (await go('jwt', 'ledger', `spiffe://${agent.trustDomain}/ns/shop/svc/unserved`)) as Answer[];
  assert.equal(other[0]?.code, 'PermissionDenied');
});

test('py-spiffe gets the identity its process has, and no more than that', { skip: skipPython, timeout: 120_000 }, async () => {
  const [found] = (await python('fetch')) as { readonly svids: readonly { readonly id: string; readonly chain: number }[]; readonly bundles: X509['bundles'] }[];
  assert.deepEqual(found?.svids.map(({ id, chain }) => [id, chain]), [[`spiffe://${agent.trustDomain}/ns/shop/svc/payments`, 2]]);
  const federation = agent.mesh.topology.federation;
  assert.deepEqual(found.bundles, { [agent.trustDomain]: 1, [`west.${federation}`]: 1, [federation]: 1 });
});

test('py-spiffe gets a token, has it checked by the agent, and checks it itself by the bundles served', { skip: skipPython, timeout: 120_000 }, async () => {
  const [{ id, token } = { id: '', token: '' }] = (await python('jwt', 'ledger')) as Token[];
  assert.equal(id, `spiffe://${agent.trustDomain}/ns/shop/svc/payments`);
  assert.equal(((await python('validate', 'ledger', token))[0] as Answer).id, id);
  assert.equal(((await python('verify', 'ledger', token))[0] as Answer).id, id);
  assert.match(((await python('validate', 'another', token))[0] as Answer).error ?? '', /audience|refused/i);
});

test('a process of a user that no workload names gets nothing, be it the very same program', { skip: skipGo || (process.getuid?.() === 0 ? false : 'only root becomes another user'), timeout: 60_000 }, () => {
  const path = 'path' in goClient ? goClient.path : '';
  const finished = spawnSync(path, ['fetch', agent.socketPath], { uid: 4321, gid: 4321, encoding: 'utf8', timeout: 30_000 });
  const [answer] = documentsOf(finished.stdout) as Answer[];
  assert.equal(answer?.code, 'PermissionDenied', finished.stderr);
  assert.match(answer?.error ?? '', /no identity issued/);
});

test('when the agent is killed and comes back, a workload that watches goes on by itself', { skip: skipGo, timeout: 120_000 }, async () => {
  const watching = watch('path' in goClient ? goClient.path : '', ['watch', agent.socketPath]);
  await waitFor('the first answer', 30_000, () => watching.documents.length > 0 || undefined);
  const { supervisor } = agent.mesh;
  await supervisor.kill('spiffe-1');
  await waitFor('the loss to be told', 30_000, () => watching.documents.some((d) => d.svids === undefined) || undefined);
  const before = watching.documents.length;
  await supervisor.restart('spiffe-1');
  await waitFor('an answer of the agent that came back', 60_000, () => watching.documents.slice(before).some((d) => d.svids?.every((s) => s.verifies)) || undefined);
  watching.stop();
});
