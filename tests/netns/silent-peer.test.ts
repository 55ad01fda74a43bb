// Row 79 at a gateway's relay: an endpoint behind a black hole is given up where it owes an answer, and only there.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { waitFor } from '@isthmus/harness';
import { makeNetwork, type Network, whyNoHosts } from './network.ts';

const skip = whyNoHosts() ?? false;
const children: ChildProcess[] = [];
let network: Network | undefined;
after(() => {
  for (const child of children) child.kill('SIGKILL');
  network?.remove();
});

/** Longer than it takes to find a silent endpoint out: five seconds of silence, and the next look. */
const FOUND_OUT_LIMIT_MS = 30_000;

function start(host: string, program: string, ...args: string[]): ChildProcess {
  assert.ok(network !== undefined);
  const [command, all] = network.on(host, [process.execPath, fileURLToPath(new URL(program, import.meta.url)), ...args]);
  const child = spawn(command, all, { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  return child;
}

async function startEndpoint(host: string): Promise<string> {
  const { stdout } = start(host, './silent-endpoint.ts');
  assert.ok(stdout !== null);
  const [port] = (await once(createInterface({ input: stdout }), 'line')) as [string];
  return port;
}

test('callers who wait for an endpoint behind a black hole are let go; who only has a connection keeps it, and so does who waits for one that does not read', { skip, timeout: 150_000 }, async () => {
  network = makeNetwork(['gateway', 'far', 'deaf'], [['gateway', 'far'], ['gateway', 'deaf']]);
  const gateway = start('gateway', './silent-gateway.ts', 'payments', network.address('far'), await startEndpoint('far'), 'ledger', network.address('deaf'), await startEndpoint('deaf'));
  assert.ok(gateway.stdout !== null);
  const told = new Set<string>();
  createInterface({ input: gateway.stdout }).on('line', (line) => {
    const { name, what } = JSON.parse(line) as { name: string; what: string };
    told.add(`${name} ${what}`);
  });
  const is = (what: string, limitMs = 20_000): Promise<true> => waitFor(what, limitMs, () => Promise.resolve(told.has(what) || undefined));
  const tell = (line: string): void => void gateway.stdin?.write(`${line}\n`);

  const open = async (name: string, service: string): Promise<void> => {
    tell(`open ${name} ${service}`);
    await is(`${name} open`);
    tell(`say ${name} hello`);
    await is(`${name} heard hello`);
  };
  await open('idle', 'payments');
  await open('leaver', 'payments');
  await open('stuck', 'ledger');
  tell('say stuck stop');
  tell('stuff stuck');
  await is('stuck stuffed');

  // Twice somebody is found out, each after five seconds of silence: by then the others were looked at, too.
  for (const name of ['first', 'second']) {
    await open(name, 'payments');
    network.cut('gateway', 'far');
    tell(`say ${name} anyone`);
    await is(`${name} closed`, FOUND_OUT_LIMIT_MS);
    network.heal('gateway', 'far');
  }
  assert.equal(told.has('stuck closed'), false, 'it answers the probes of its closed window');
  assert.equal(told.has('idle closed'), false, 'nothing is owed there');
  tell('say idle still');
  await is('idle heard still', FOUND_OUT_LIMIT_MS);

  // Nothing moved on it for long, and nothing but the end does now: the endpoint owes the answer to that.
  network.cut('gateway', 'far');
  told.clear();
  tell('leave leaver');
  await is('gateway has 2', FOUND_OUT_LIMIT_MS);
  network.heal('gateway', 'far');

  network.cut('gateway', 'deaf');
  await is('stuck closed', 60_000);
  assert.equal(told.has('idle closed'), false);
});
