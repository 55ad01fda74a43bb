// The Workload API of an agent before clients no one here wrote: go-spiffe and py-spiffe.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findProgram, run, waitFor } from '@isthmus/harness';
import { type SpiffeAgent, startSpiffeAgent } from './spiffe-agent.ts';

const directory = mkdtempSync(join(tmpdir(), 'isthmus-workload-'));
const goClient = await buildGoClient();
const skipGo = 'reason' in goClient ? goClient.reason : false;
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
  await agent.mesh.close();
  rmSync(directory, { recursive: true, force: true });
});

async function buildGoClient(): Promise<{ readonly path: string } | { readonly reason: string }> {
  if (findProgram('go') === undefined) return { reason: 'Go is not installed (apt-get install golang-go)' };
  const path = join(directory, 'go-workload');
  const cwd = fileURLToPath(new URL('./go-spiffe', import.meta.url));
  const built = await run('go', ['build', '-o', path, '.'], { cwd, limitMs: 240_000 });
  return built.code === 0 ? { path } : { reason: `the go-spiffe program could not be built: ${built.stderr.trim().split('\n').at(-1)}` };
}

type X509 = { readonly svids: readonly { readonly id: string; readonly hint: string; readonly serial: string; readonly verifies: boolean }[]; readonly bundles: Readonly<Record<string, number>> };

const documentsOf = (text: string): unknown[] => text.trim().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as unknown);

async function go(...args: readonly string[]): Promise<unknown[]> {
  const [mode = '', ...rest] = args;
  const finished = await run('path' in goClient ? goClient.path : '', [mode, agent.socketPath, ...rest], { limitMs: 60_000 });
  return documentsOf(finished.stdout);
}

/** Runs a program that goes on, with its lines so far. */
function watch(command: string, args: readonly string[]): { readonly documents: readonly X509[]; stop(): void } {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
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

test('go-spiffe is told of a renewal while it watches', { skip: skipGo, timeout: 120_000 }, async () => {
  const watching = watch('path' in goClient ? goClient.path : '', ['watch', agent.socketPath]);
  const serials = (): Set<string> => new Set(watching.documents.flatMap((d) => d.svids.filter((s) => s.verifies && s.hint === 'shop/cart').map((s) => s.serial)));
  await waitFor('three serials of one identity', 90_000, () => serials().size >= 3 || undefined);
  watching.stop();
});
