import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { makeProgram } from '../program.ts';
import { wordsOf } from './completion.ts';
import { diffLines } from './resource.ts';

test('a difference keeps what both have, and says what goes and comes', () => {
  assert.deepEqual(diffLines('a\nb\nc\n', 'a\nx\nc\nd\n'), ['  a', '- b', '+ x', '  c', '+ d']);
  assert.deepEqual(diffLines('', 'a\n'), ['+ a']);
});

test('from the lines of a difference both sides can be had back', () => {
  const text = fc.array(fc.constantFrom('a', 'b', 'c', '- d'), { minLength: 1, maxLength: 12 });
  fc.assert(fc.property(text, text, (before, after) => {
    const lines = diffLines(`${before.join('\n')}\n`, `${after.join('\n')}\n`);
    assert.deepEqual(lines.filter((l) => !l.startsWith('+')).map((l) => l.slice(2)), before);
    assert.deepEqual(lines.filter((l) => !l.startsWith('-')).map((l) => l.slice(2)), after);
  }));
});

test('completion knows every command, and the scripts are ones their shell reads', (t) => {
  const words = wordsOf(makeProgram());
  assert.ok(words.get('')?.includes('service') && words.get('service')?.includes('apply') && words.get('service apply')?.includes('--port'));
  const main = fileURLToPath(new URL('../main.ts', import.meta.url));
  const script = execFileSync(process.execPath, [main, 'completion', 'bash'], { encoding: 'utf8' });
  const complete = (line: string): string => spawnSync('bash', ['-c', `${script}\nCOMP_WORDS=(${line} ""); COMP_CWORD=$(( \${#COMP_WORDS[@]} - 1 )); _isthmus; echo "\${COMPREPLY[@]}"`], { encoding: 'utf8' }).stdout;
  if (spawnSync('bash', ['--version']).status !== 0) return t.skip('no bash here');
  assert.match(complete('isthmus service'), /apply list delete .*endpoints/);
  assert.match(complete('isthmus service apply shop/cart'), /--port/);
  const completeWord = (...line: readonly string[]): string[] =>
    execFileSync('bash', ['-c', `${script}\nCOMP_WORDS=(isthmus "$@"); COMP_CWORD=$#; _isthmus; printf '%s\\n' "\${COMPREPLY[@]}"`, 'bash', ...line], { encoding: 'utf8' }).trim().split('\n');
  assert.deepEqual(completeWord('status', '-o', ''), ['table', 'json', 'yaml']);
  assert.deepEqual(completeWord('trust', 'rotate', '--hold-before', 'r'), ['reissue', 'retire']);
  assert.deepEqual(completeWord('get', 'fo'), ['foreign-trust-domains']);
  assert.ok(completeWord('trust', 'rotate', '--').includes('--context'), 'options of every command');
  assert.equal(spawnSync(process.execPath, [main, 'completion', 'tcsh']).status, 65);
});
