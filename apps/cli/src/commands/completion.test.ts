import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { makeProgram } from '../program.ts';
import { wordsOf } from './completion.ts';

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));
const scriptFor = (shell: string): string => execFileSync(process.execPath, [MAIN, 'completion', shell], { encoding: 'utf8' });

/** How each shell is asked what it offers for the last of these words. In zsh, which picks those that fit by itself, the function is called as zsh calls it. */
const BASH = `COMP_WORDS=(isthmus "$@"); COMP_CWORD=$#; _isthmus; printf '%s\\n' "\${COMPREPLY[@]}"`;
type Arguments = (script: string, words: readonly string[]) => readonly string[];
const SHELLS: Readonly<Record<string, Arguments>> = {
  bash: (script, words) => ['-c', `${script}\n${BASH}`, 'bash', ...words],
  zsh: (script, words) => ['-fc', `${script}\nemulate -L sh\n${BASH}`, 'zsh', ...words],
  fish: (script, words) => ['--no-config', '-c', `${script}\ncomplete -C (string join ' ' -- isthmus $argv)`, '--', ...words],
};

for (const [shell, call] of Object.entries(SHELLS)) {
  const skip = spawnSync(shell, ['--version']).status === 0 ? false : `${shell} is not installed (apt-get install ${shell})`;
  test(`completion in ${shell}: commands of a chain, options of a command and of all, and what an option may be`, { skip }, () => {
    const script = scriptFor(shell);
    const offered = (...words: readonly string[]): readonly string[] =>
      execFileSync(shell, call(script, words), { encoding: 'utf8' }).trim().split('\n').map((line) => line.split('\t')[0] ?? '').filter((line) => line.startsWith(words.at(-1) ?? '')).toSorted();
    assert.deepEqual(offered('cl'), ['cluster']);
    assert.ok(['apply', 'list', 'delete', 'endpoints', '--context'].every((word) => offered('service', '').includes(word)));
    assert.deepEqual(offered('service', 'apply', 'shop/cart', '--p'), ['--port'], 'an argument is no command');
    assert.deepEqual(offered('--context', 'agent', 'service', 'ap'), ['apply'], 'nor is the value of an option');
    assert.deepEqual(offered('agent', 'list', 'st'), [], 'nor what was a command further up');
    assert.deepEqual(offered('status', '-o', ''), ['json', 'table', 'yaml']);
    assert.deepEqual(offered('trust', 'rotate', '--hold-before', 'r'), ['reissue', 'retire']);
    assert.deepEqual(offered('get', 'fo'), ['foreign-trust-domains']);
  });
}

test('every command has its words; a shell that there is no script for is bad input', () => {
  const words = wordsOf(makeProgram());
  assert.ok(words.get('')?.includes('service') && words.get('service')?.includes('apply') && words.get('service apply')?.includes('--port'));
  assert.equal(spawnSync(process.execPath, [MAIN, 'completion', 'tcsh']).status, 65);
});
