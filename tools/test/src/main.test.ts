import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findTests } from './find-tests.ts';
import { faultOf, runFile } from './run-file.ts';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));
const made: string[] = [];
after(() => made.forEach((directory) => rmSync(directory, { recursive: true, force: true })));

/** A repository of these test files. */
function aRepository(files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'isthmus-runner-'));
  made.push(root);
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), `import assert from 'node:assert/strict';\nimport test, { describe } from 'node:test';\n${text}\n`);
  }
  return root;
}

function run(files: Readonly<Record<string, string>>, ...args: string[]): { status: number | null; output: string; lastLine: string } {
  const root = aRepository(files);
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, '--root', root, ...args], { encoding: 'utf8' });
  return { status, output: stdout + stderr, lastLine: stdout.trimEnd().split('\n').at(-1) ?? '' };
}

const ok = (file: string) => findTests(aRepository({ [file]: '' })).flatMap((s) => s.files.map((f) => `${s.name}: ${f}`)).join();

test('test files are found beside sources and under tests, and nowhere else', () => {
  assert.equal(ok('libs/a/src/deep/b.test.ts'), 'unit: libs/a/src/deep/b.test.ts');
  assert.equal(ok('apps/a/src/main.test.ts'), 'unit: apps/a/src/main.test.ts');
  assert.equal(ok('tests/architecture/x.test.ts'), 'architecture: tests/architecture/x.test.ts');
  assert.equal(ok('tests/e2e/x.test.ts'), 'whole processes: tests/e2e/x.test.ts');
  // In one stage only.
  for (const file of ['tests/netns/deep/x.test.ts', 'tests/e2e/rotation.test.ts', 'tests/reliability/descriptors.test.ts']) assert.equal(ok(file), `whole processes, one at a time: ${file}`);
  for (const file of ['libs/a/src/b.ts', 'libs/a/node_modules/c/src/b.test.ts', 'docs/b.test.ts']) assert.equal(ok(file), '', file);
});

test('totals count each test once, nested or not, and the last line says them', () => {
  const { status, lastLine, output } = run({
    'libs/a/src/a.test.ts': `
      test('one', () => {});
      describe('suite', () => { test('two', () => {}); test('three', () => {}); });
      test('parent', async (t) => { await t.test('child', () => {}); });`,
    'tests/e2e/b.test.ts': `test('four', () => {});`,
  });
  assert.equal(lastLine, '6 passed, 0 failed, 0 skipped', output);
  assert.equal(status, 0);
});

test('a failure is shown with its place and what the file wrote, and fails the run; it does not count for its parents', () => {
  const { status, output, lastLine } = run({
    'libs/a/src/a.test.ts': `
      test('good', () => {});
      test('parent', async (t) => { await t.test('child', () => { console.log('the clue'); assert.equal(1, 2); }); });`,
  });
  assert.equal(lastLine, '1 passed, 1 failed, 0 skipped', output);
  assert.equal(status, 1);
  assert.match(output, /✖ parent › child \(libs\/a\/src\/a\.test\.ts:\d+\)/);
  assert.match(output, /Expected values to be strictly equal/);
  assert.match(output, /the clue/);
});

test('skipped tests are listed with their reasons just before the total', () => {
  const { status, output } = run({
    'libs/a/src/a.test.ts': `
      test('good', () => {});
      test('real etcd', { skip: 'no etcd here' }, () => {});
      test('bare', { skip: true }, () => {});
      test('later', (t) => t.skip('not on Mondays'));`,
  });
  assert.equal(status, 0);
  assert.match(
    output,
    /Skipped:\n  libs\/a\/src\/a\.test\.ts: real etcd: no etcd here\n.*bare: no reason given\n.*later: not on Mondays\n\n1 passed, 0 failed, 3 skipped\n$/,
  );
});

test('a file that crashes, holds no test, or ends early is a failure', () => {
  for (const [name, text, fault] of [
    ['crashes on import', `throw new Error('broken import');`, /broken import/],
    ['holds no test', ``, /holds no test/],
    ['ends early', `test('a', () => {}); test('b', () => process.exit(0));`, /./],
    ['fails after its tests', `test('a', () => {}); test('b', () => { setImmediate(() => { throw new Error('afterwards'); }); });`, /afterwards|exit code/],
  ] as const) {
    const { status, output, lastLine } = run({ 'libs/a/src/a.test.ts': text });
    assert.equal(status, 1, `${name}\n${output}`);
    assert.match(lastLine, /[1-9] failed/, `${name}\n${output}`);
    assert.match(output, fault, name);
  }
});

test('a run in which nothing passed is a failure', () => {
  assert.equal(run({}).status, 1);
  assert.equal(run({}).lastLine, '0 passed, 0 failed, 0 skipped');
  assert.equal(run({ 'libs/a/src/a.test.ts': `test('x', { skip: 'no' }, () => {});` }).status, 1);
});

test('--only narrows by part of a path or by pattern, --list runs nothing', () => {
  const files = { 'libs/a/src/a.test.ts': `test('a', () => {});`, 'libs/b/src/b.test.ts': `throw new Error('b ran');` };
  assert.equal(run(files, '--only', 'libs/a/').lastLine, '1 passed, 0 failed, 0 skipped');
  assert.equal(run(files, '--only', '^libs/a').lastLine, '1 passed, 0 failed, 0 skipped');
  const { status, output } = run(files, '--list');
  assert.equal(status, 0);
  assert.equal(output, 'unit:\n  libs/a/src/a.test.ts\n  libs/b/src/b.test.ts\n');
});

test('a file that does not end is ended with all it started, and what it had done still counts', async () => {
  const root = aRepository({
    'libs/a/src/a.test.ts': `
      import { spawn } from 'node:child_process';
      import { writeFileSync } from 'node:fs';
      test('good', () => {
        const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
        writeFileSync('pid', String(child.pid));
      });`,
  });
  const result = await runFile({ root, file: 'libs/a/src/a.test.ts', timeoutMs: 2_000, signal: new AbortController().signal });
  assert.deepEqual(result.ended.map((e) => e.outcome), ['passed', 'failed']);
  assert.match(result.ended[1]?.reason ?? '', /did not end within 2 s/);
  const pid = Number(readFileSync(join(root, 'pid'), 'utf8'));
  assert.ok(isGone(pid), 'the child lives on');
});

test('an abort ends the running file at once', async () => {
  const root = aRepository({ 'libs/a/src/a.test.ts': `test('long', () => new Promise((resolve) => setTimeout(resolve, 100_000)));` });
  const abort = new AbortController();
  const running = runFile({ root, file: 'libs/a/src/a.test.ts', timeoutMs: 60_000, signal: abort.signal });
  abort.abort();
  assert.equal((await running).ended.at(-1)?.outcome, 'failed');
});

test('the ways a file itself can be at fault', () => {
  const passed = [{ outcome: 'passed', name: 'a', durationMs: 1 }] as const;
  const failed = [{ outcome: 'failed', name: 'a', durationMs: 1 }] as const;
  assert.equal(faultOf(passed, 0, null), undefined);
  assert.equal(faultOf(failed, 1, null), undefined);
  assert.match(faultOf(passed, 1, null) ?? '', /exit code 1 although no test failed/);
  assert.match(faultOf(failed, 0, null) ?? '', /exit code 0 although a test failed/);
  assert.match(faultOf(passed, null, 'SIGSEGV') ?? '', /SIGSEGV/);
  assert.match(faultOf([], 0, null) ?? '', /no test/);
});

/** Whether a process has ended, counting one that only waits for its parent to notice. */
function isGone(pid: number): boolean {
  try {
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
}
