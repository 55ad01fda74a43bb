// Configuration files across releases: those of every release are still taken, and one typo is one clear line for each program.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { appMain, run } from '@isthmus/harness';

// Files of a version that is out are never changed: what they hold is what stands on hosts.
const RELEASES = fileURLToPath(new URL('./configurations', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'isthmus-configurations-'));
after(() => rmSync(directory, { recursive: true, force: true }));

type App = Parameters<typeof appMain>[0];
const files = readdirSync(RELEASES).flatMap((release) => readdirSync(join(RELEASES, release)).map((file) => ({ release, app: file.replace('.yaml', '') as App, path: join(RELEASES, release, file) })));
const print = (app: App, file: string) => run(process.execPath, [appMain(app), '--config', file, '--print-config'], { limitMs: 120_000 });

for (const { release, app, path } of files) {
  test(`${app} takes its configuration of ${release} as it is`, async () => {
    const { code, stdout, stderr } = await print(app, path);
    assert.equal(code, 0, stderr);
    assert.match(stdout, new RegExp(`^stateDir: .*# ${path}:`, 'm'), 'what the file says is what is in force');
  });

  test(`${app}: one typo is one line that names file, line and the key that was meant`, async () => {
    const lines = readFileSync(path, 'utf8').split('\n');
    const line = lines.findIndex((text) => text.startsWith('stateDir:')) + 1;
    const file = join(directory, `${app}.yaml`);
    writeFileSync(file, lines.join('\n').replace('stateDir:', 'stateDri:'));
    const { code, stdout, stderr } = await print(app, file);
    assert.equal(code, 65, stdout);
    assert.match(stderr, new RegExp(`${file}:${line}: stateDri: unknown key \\(did you mean stateDir\\?\\)`));
    assert.doesNotMatch(stderr, /\n +at /, 'words, no stack');
  });
}

test('there is a configuration of every program that takes one', () => {
  const newest = readdirSync(RELEASES).toSorted().at(-1);
  assert.deepEqual(files.filter(({ release }) => release === newest).map(({ app }) => app).toSorted(), ['admin-api', 'agent', 'control-plane', 'gateway', 'trust-root']);
});
