// The executable for arm64, run by an emulator: every program answers, and an agent joins a federation and carries requests.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findProgram, names, request, reservePorts, run, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';

const RELEASE = fileURLToPath(new URL('../../tools/release/src/main.ts', import.meta.url));
const LIBRARIES = '/usr/aarch64-linux-gnu';
const LIMIT_MS = 300_000;

const skip = whyNot();
let directory: string;
let mesh: TestFederation;
let agent: ChildProcess | undefined;

function whyNot(): string | false {
  if (process.arch === 'arm64') return 'this machine is arm64: the other tests run that executable';
  if (process.env['ISTHMUS_TEST_ARM64'] === undefined) return 'takes minutes: run it with ISTHMUS_TEST_ARM64=1';
  if (findProgram('qemu-aarch64-static') === undefined) return 'no qemu-aarch64-static (apt-get install qemu-user-static)';
  if (!existsSync(join(LIBRARIES, 'lib/libatomic.so.1')) || !existsSync(join(LIBRARIES, 'lib/libstdc++.so.6'))) return 'no libraries of arm64 (apt-get install libc6-arm64-cross libstdc++6-arm64-cross libatomic1-arm64-cross)';
  return false;
}

/** The command line of the executable called by a name. */
const emulated = (name: string, ...args: string[]): [string, string[]] => ['qemu-aarch64-static', ['-L', LIBRARIES, '-0', name, join(directory, 'arm64/isthmus'), ...args]];

before(async () => {
  if (skip !== false) return;
  directory = mkdtempSync(join(tmpdir(), 'isthmus-arm64-'));
  const made = await run(process.execPath, [RELEASE, '--out', directory, '--arch', 'arm64', '--only', 'executable'], { limitMs: LIMIT_MS });
  assert.equal(made.code, 0, made.stderr);
  mesh = await startFederation({ topology: smallTopology(['east-1', 'vm-1', 'west-2']) });
}, { timeout: LIMIT_MS * 2 });

after(async () => {
  agent?.kill('SIGKILL');
  await mesh?.close();
  if (skip === false) rmSync(directory, { recursive: true, force: true });
});

test('it is every program, by the name it is called by', { skip, timeout: LIMIT_MS }, async () => {
  for (const [name, says] of [
    ['isthmus', /^Usage: isthmus /],
    ['isthmus-agent', /^Usage: agent /],
    ['isthmus-gateway', /^Usage: gateway /],
    ['isthmus-control-plane', /^Usage: control-plane /],
    ['isthmus-trust-root', /^Usage: trust-root /],
  ] as const) assert.match((await run(...emulated(name, '--help'), { limitMs: LIMIT_MS })).stdout, says);
});

test('an agent of it joins a federation and carries a request to another cluster', { skip, timeout: LIMIT_MS }, async (t) => {
  const { token } = await mesh.federation.admin('east').createJoinToken({ agent: 'vm-arm', role: 'agent', services: ['shop/web'], ttlSeconds: 600 });
  const { from } = await reservePorts();
  const config = join(directory, 'agent.yaml');
  writeFileSync(join(directory, 'token'), token, { mode: 0o600 });
  writeFileSync(config, `stateDir: ${join(directory, 'state')}\nserver: { address: "127.0.0.1:${mesh.federation.port(names.gateway('east'))}" }\njoinTokenFile: ${join(directory, 'token')}\nnetwork: vm-arm\noutbound: { listeners: [{ service: shop/ledger, port: ${from} }] }\nidentity: { callAs: shop/web }\n`);
  const [command, args] = emulated('isthmus-agent', '--config', config);
  agent = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [agent.stdout, agent.stderr]) stream?.on('data', (text: Buffer) => (said += String(text)));
  await waitFor('the agent to be ready', LIMIT_MS, () => {
    assert.equal(agent?.exitCode, null, said);
    return said.includes('"msg":"ready"') ? true : undefined;
  }).catch((error: unknown) => assert.fail(`${String(error)}\n${said}`));
  const answer = await waitFor('an answer of ledger', LIMIT_MS, async () => {
    const outcome = await request({ host: '127.0.0.1', port: from });
    return outcome.ok ? outcome : undefined;
  });
  assert.equal(answer.cluster, 'west');
  assert.match(answer.caller ?? '', /\/ns\/shop\/svc\/web/);
  const engine = /"msg":"data path started","engine":"(\w+)"/.exec(said)?.[1];
  assert.ok(engine === 'linux' || engine === 'portable', said);
  t.diagnostic(engine === 'linux' ? 'on the linux engine' : `on the portable engine: ${/the Linux engine is not available[^\n]*"detail":"([^"]*)"/.exec(said)?.[1] ?? 'no reason given'}`);
});
