// `isthmus trust verify-log` and `log --file` on a log a real trust root wrote: offline, as an auditor would.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openTrustRoot } from '@isthmus/identity';
import type { TrustDomain } from '@isthmus/model';
import { generateKey, signRoot, toPem } from '@isthmus/pki';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';

const main = fileURLToPath(new URL('../main.ts', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'isthmus-trust-log-'));
const path = join(directory, 'state', 'transparency.log');
const federation = 'acme.example' as TrustDomain;
let checkpoint: string;

before(async () => {
  const root = await openTrustRoot({ stateDir: join(directory, 'state'), federation, clock: systemClock, random: systemRandom, log: silentLog() });
  ({ hash: checkpoint } = await root.log.checkpoint());
  await root.close();
  const state = JSON.parse(readFileSync(join(directory, 'state', 'trust-root.state'), 'utf8').split('\n').slice(1).join('\n')) as { root: string };
  writeFileSync(join(directory, 'root.pem'), toPem(Buffer.from(state.root, 'base64')));
  writeFileSync(join(directory, 'other.pem'), toPem(signRoot({ key: generateKey(), federation, nowMs: Date.now(), ttlMs: 60_000 })));
});
after(() => rmSync(directory, { recursive: true, force: true }));

const isthmus = (...args: string[]) => spawnSync(process.execPath, [main, 'trust', ...args], { encoding: 'utf8' });

test('a good log is OK with its counts and head hash, held against checkpoint and root', () => {
  const { status, stdout, stderr } = isthmus('verify-log', path, '--checkpoint', checkpoint, '--root', join(directory, 'root.pem'));
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^OK: 4 records of acme\.example, 1 checkpoints under the given root\n/);
  assert.ok(stdout.includes(`head ${checkpoint}`));
  assert.match(stdout, /1 {2}root-certificate/);
});

test('another root, another checkpoint, a changed line and no file each fail with what is wrong and where', () => {
  assert.match(isthmus('verify-log', path, '--root', join(directory, 'other.pem')).stderr, /not signed under the given root/);
  assert.match(isthmus('verify-log', path, '--checkpoint', '0'.repeat(64)).stderr, /cut off before it, or written anew/);
  assert.equal(isthmus('verify-log', path, '--checkpoint', 'nonsense').status, 65);
  const changed = join(directory, 'changed.log');
  writeFileSync(changed, readFileSync(path, 'utf8').replace('"sequence":1', '"sequence":2'));
  const { status, stderr } = isthmus('verify-log', changed, '-o', 'json');
  assert.equal(status, 65);
  const { error } = JSON.parse(stderr) as { error: { code: string; facts: { line: number } } };
  assert.equal(error.code, 'CLI_LOG_BROKEN');
  assert.equal(error.facts.line, 3);
  assert.match(isthmus('verify-log', join(directory, 'none')).stderr, /cannot read/);
  assert.match(isthmus('log', '--file', changed).stderr, /line 3/);
});

test('a torn end is told and is no failure', () => {
  const torn = join(directory, 'torn.log');
  writeFileSync(torn, readFileSync(path));
  truncateSync(torn, readFileSync(path).length - 5);
  const { status, stdout } = isthmus('verify-log', torn);
  assert.equal(status, 0);
  assert.match(stdout, /ends within a line/);
});

test('a log file is shown as a table, the newest last, without what is long', () => {
  const { stdout, status } = isthmus('log', '--file', path, '--last', '2');
  assert.equal(status, 0);
  assert.match(stdout, /^INDEX +AT +KIND +FACTS +HASH\n2 .* bundle .*trustDomain=acme\.example.*\n3 .* checkpoint /);
  assert.doesNotMatch(stdout, /signature/);
});
