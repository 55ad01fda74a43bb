// Row 85: a port that is taken, or a second start of the same program, ends with a sentence and changes nothing.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { appMain, LEDGER, names, outboundOf, request, run, smallTopology, startFederation, type TestFederation } from '@isthmus/harness';

let mesh: TestFederation;
before(async () => {
  mesh = await startFederation({ topology: smallTopology(['vm-1', 'east-1', 'west-2']) });
}, { timeout: 60_000 });
after(() => mesh.close());

test('a second gateway with the same configuration ends with a reason, and the first one serves on', { timeout: 60_000 }, async () => {
  const name = names.gateway('west');
  const second = await run(process.execPath, [appMain('gateway'), '--config', mesh.paths.config(name)], { limitMs: 30_000 });
  assert.notEqual(second.code, 0, second.stdout);
  assert.notEqual(second.code, null, 'it ended by itself');
  assert.match(second.stderr, /gateway: .*(taken|in use|another process serves)/i);
  assert.doesNotMatch(second.stderr, /\n +at /, 'a sentence, no stack');
  assert.equal((await request(outboundOf(mesh.federation, 'vm-1', LEDGER))).ok, true);
  assert.equal(typeof (await mesh.federation.proxy(name).status())['connections'], 'number', 'its operator still reaches the first');
});

test('a program whose port another one holds names the port and exits with its class’s code', { timeout: 60_000 }, async () => {
  const name = names.gateway('west');
  const taken = mesh.federation.port(names.gateway('east'));
  const file = join(mesh.paths.root, 'second.yaml');
  const text = readFileSync(mesh.paths.config(name), 'utf8')
    .replace(/^( +port: ).*$/m, `$1${taken}`)
    .replace(/^adminSocket: .*$/m, `adminSocket: ${JSON.stringify(join(mesh.paths.root, 's.sock'))}`);
  writeFileSync(file, text, { mode: 0o600 });
  const second = await run(process.execPath, [appMain('gateway'), '--config', file], { limitMs: 30_000 });
  assert.match(second.stderr, new RegExp(`${taken}`), second.stderr);
  assert.ok(second.code !== 0 && second.code !== null, `exit code ${second.code}`);
});
