import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { minimise } from './minimise.ts';
import { Mutator } from './mutate.ts';
import { problemOf } from './target.ts';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));
const made: string[] = [];
after(() => made.forEach((directory) => rmSync(directory, { recursive: true, force: true })));

/** A repository with one parser under fuzzing, `libs/a/src/p.fuzz.ts`. */
function aRepository(run: string, more = ''): string {
  const root = mkdtempSync(join(tmpdir(), 'isthmus-fuzz-'));
  made.push(root);
  const file = join(root, 'libs/a/src/p.fuzz.ts');
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(join(root, 'package.json'), '{"type":"module"}');
  writeFileSync(file, `${more}\nexport const target = { name: 'p', seeds: [Buffer.from('hello world')], run(input) {\n${run}\n} };\n`);
  return root;
}

function fuzz(root: string, ...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, '--root', root, ...args], { encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

const kept = (root: string): string[] => {
  const directory = join(root, 'libs/a/src/testdata/fuzz/p');
  return existsSync(directory) ? readdirSync(directory).map((name) => join(directory, name)) : [];
};

/** Only a fuzzer that follows coverage gets through: each letter is its own branch. */
const GATES = `if (input[0] === 0x46) { if (input[1] === 0x55) { if (input[2] === 0x5a) { throw new Error('through all the gates'); } } }`;

test('a run that finds nothing ends with 0 and says how many inputs there were', () => {
  const { status, output } = fuzz(aRepository(''), '--inputs', '5000');
  assert.equal(status, 0, output);
  assert.match(output, /ok +p +5,\d{3}|ok +p +6,\d{3} inputs/);
  assert.match(output, /1 targets, [\d,]+ inputs, 0 findings\n$/);
});

test('coverage leads through gates that chance alone would not pass; the finding is made small, kept and replayed first', () => {
  const root = aRepository(GATES);
  const { status, output } = fuzz(root, '--inputs', '500000', '--seed', '7');
  assert.equal(status, 1, output);
  assert.match(output, /through all the gates/);
  assert.match(output, /again: npm run fuzz -- --only libs\/a\/src\/p\.fuzz\.ts --inputs 0/);
  const [file, ...others] = kept(root);
  assert.ok(file !== undefined && others.length === 0);
  assert.equal(readFileSync(file, 'latin1'), 'FUZ', 'nothing but what matters');
  const again = fuzz(root, '--inputs', '0');
  assert.equal(again.status, 1);
  assert.match(again.output, /\.bin \(kept from an earlier run\)/);
});

test('the same seed finds the same after the same number of inputs', () => {
  const run = (): unknown => {
    const { output } = fuzz(aRepository(`if (input.length === 23 && input[3] > 200) throw new Error('x')`), '--inputs', '20000', '--seed', '3', '--output', 'json');
    const { results } = JSON.parse(output) as { results: { inputs: number; found: number; finding?: { file?: string } }[] };
    return results.map((r) => [r.inputs, r.found, r.finding?.file]);
  };
  const first = run();
  assert.match(JSON.stringify(first), /\.bin/);
  assert.deepEqual(run(), first);
});

test('an input that never ends is a finding: the thread is ended and the input kept', () => {
  const root = aRepository(`if (input.length < 8) for (;;);`);
  const { status, output } = fuzz(root, '--inputs', '20000', '--hang-ms', '300');
  assert.equal(status, 1, output);
  assert.match(output, /hang: one input ran for more than 300 ms/);
  assert.equal(kept(root).length, 1);
});

test('a target that keeps memory from input to input is a finding', () => {
  const { status, output } = fuzz(aRepository('held.push(new Uint8Array(16_384))', 'const held = [];'), '--inputs', '20000');
  assert.equal(status, 1, output);
  assert.match(output, /memory: \d+ MiB more in use/);
});

test('a file that is no target is named with the reason, exit 65; a wrong flag is 64', () => {
  const root = aRepository('');
  writeFileSync(join(root, 'libs/a/src/p.fuzz.ts'), `export const target = { name: 'p', seeds: [], run() {} };`);
  const { status, output } = fuzz(root);
  assert.equal(status, 65, output);
  assert.match(output, /libs\/a\/src\/p\.fuzz\.ts: target\.seeds must be at least one Buffer/);
  assert.equal(fuzz(root, '--inputs', 'many').status, 64);
  assert.equal(fuzz(root, '--only', 'nobody').status, 64);
  assert.match(fuzz(root, '--list').output, /^p +libs\/a\/src\/p\.fuzz\.ts\n$/);
});

test('what a target must be is checked piece by piece', () => {
  const good = { name: 'a-b', seeds: [Buffer.from('x')], run: () => undefined };
  assert.equal(problemOf(good), undefined);
  for (const [bad, says] of [
    [undefined, /exports no/],
    [{ ...good, name: 'A b' }, /name/],
    [{ ...good, seeds: ['x'] }, /seeds/],
    [{ ...good, run: undefined }, /run/],
    [{ ...good, run: async () => undefined }, /async/],
    [{ ...good, dictionary: [''] }, /dictionary/],
    [{ ...good, maxBytes: 0 }, /maxBytes/],
  ] as const) {
    assert.match(problemOf(bad) ?? '', says);
  }
});

test('inputs stay within the longest allowed, whatever is done to them', () => {
  const mutator = new Mutator({ seed: 5, seeds: [Buffer.alloc(100, 1), Buffer.alloc(3), Buffer.alloc(0)], dictionary: ['word', Buffer.alloc(70, 2)], maxBytes: 128 });
  const lengths = new Set<number>();
  for (let i = 0; i < 50_000; i++) lengths.add(mutator.next().length);
  assert.ok(Math.max(...lengths) <= 128);
  assert.ok(lengths.size > 100, 'and of nearly every length');
});

test('minimising keeps what matters and nothing else', () => {
  const input = Buffer.from(`${'x'.repeat(500)}needle${'y'.repeat(300)}`);
  assert.equal(minimise(input, (shorter) => shorter.includes('needle')).toString(), 'needle');
});
