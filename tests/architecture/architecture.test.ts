import assert from 'node:assert/strict';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { COVERED_BY } from './covered-by.ts';
import { makeRepository, readRepository } from './repository.ts';
import { RULES } from './rules.ts';
import { importsOf, readSource } from './source-text.ts';

const repository = readRepository(fileURLToPath(new URL('../..', import.meta.url)), COVERED_BY);

test('the repository was found', () => {
  assert.ok(repository.sources.size > 100);
  assert.ok(repository.packages.size > 10);
});

for (const rule of RULES) {
  test(rule.name, () => {
    const problems = rule.check(repository);
    assert.ok(problems.length === 0, `\n${problems.join('\n')}`);
  });
}

/** A small house that breaks no rule; each case below spoils it in one way. */
const PACKAGES: Readonly<Record<string, string>> = {
  'libs/model/package.json': aPackage('@isthmus/model', 'floor:0', 'platform:any', ['typebox']),
  'libs/pki/package.json': aPackage('@isthmus/pki', 'floor:1', 'platform:node', ['@isthmus/model', 'node-forge']),
  'libs/telemetry/package.json': aPackage('@isthmus/telemetry', 'floor:1', 'platform:node', ['@isthmus/model']),
  'libs/store/package.json': aPackage('@isthmus/store', 'floor:3', 'platform:node', ['@isthmus/model', '@isthmus/pki']),
  'apps/agent/package.json': aPackage('@isthmus/agent', undefined, 'platform:node', ['@isthmus/store']),
  'apps/cli/package.json': aPackage('@isthmus/cli', undefined, 'platform:node', ['@isthmus/store', 'commander']),
};
const SOURCES: Readonly<Record<string, string>> = {
  'libs/model/src/index.ts': `export { a } from './a.ts';`,
  'libs/model/src/a.ts': 'export const a = 1;',
  'libs/pki/src/index.ts': `export const p = 1;`,
  'libs/pki/src/testing.ts': `export const kit = 1;`,
  'libs/store/src/index.ts': `export { s } from './s.ts';`,
  'libs/store/src/s.ts': `import { a } from '@isthmus/model';\nimport { readFile } from 'node:fs/promises';\nexport const s = [a, readFile];`,
  'libs/store/src/s.test.ts': `import { kit } from '@isthmus/pki/testing';\nimport { s } from './s.ts';\nvoid [kit, s];`,
  'apps/agent/src/main.ts': `import { s } from '@isthmus/store';\nvoid s;`,
  'apps/cli/src/main.ts': `import { Command } from 'commander';\nvoid Command;`,
  'README.md': 'See [model](libs/model/src/a.ts) and [the web](https://example.org/x).',
  'docs/reference/errors.md': '',
  'docs/reference/metrics.md': '',
};

function aPackage(name: string, floor: string | undefined, platform: string, dependencies: readonly string[]): string {
  return JSON.stringify({
    name,
    exports: { '.': './src/index.ts', './testing': './src/testing.ts' },
    nx: { tags: floor === undefined ? [platform] : [floor, platform] },
    dependencies: Object.fromEntries(dependencies.map((d) => [d, '*'])),
  });
}

function problemsIn(spoiled: Readonly<Record<string, string>>, coveredBy: Readonly<Record<string, string>> = {}): readonly string[] {
  const files = new Map(Object.entries({ ...PACKAGES, ...SOURCES, ...spoiled }));
  const spoiledRepository = makeRepository(files, () => false, coveredBy);
  return RULES.flatMap((rule) => rule.check(spoiledRepository).map((problem) => `${rule.name}: ${problem}`));
}

test('a house in order has no problems', () => {
  assert.deepEqual(problemsIn({}), []);
});

const LONG = `${'export const line = 1;\n'.repeat(41)}`;
const CATALOGUE = `import { defineErrors } from '@isthmus/model';\nexport const fail = defineErrors({ A_LOST: { class: 'unavailable', doc: 'Lost.' } });`;

const BAD: readonly { readonly name: string; readonly files: Readonly<Record<string, string>>; readonly rule: string; readonly says: RegExp; readonly coveredBy?: Readonly<Record<string, string>> }[] = [
  { name: 'a lib imports from a higher floor', files: { 'libs/model/src/a.ts': `import { p } from '@isthmus/pki';` }, rule: 'an import goes', says: /not on a lower floor/ },
  { name: 'libs of one floor know each other', files: { 'libs/telemetry/src/index.ts': `import { p } from '@isthmus/pki';` }, rule: 'an import goes', says: /not on a lower floor/ },
  { name: 'a type-only import goes up', files: { 'libs/model/src/a.ts': `import type { p } from '@isthmus/store';` }, rule: 'an import goes', says: /not on a lower floor/ },
  { name: 'a re-export goes up', files: { 'libs/model/src/a.ts': `export * from '@isthmus/store';` }, rule: 'an import goes', says: /not on a lower floor/ },
  { name: 'a dynamic import goes up', files: { 'libs/model/src/a.ts': `const p = await import('@isthmus/store');` }, rule: 'an import goes', says: /not on a lower floor/ },
  { name: 'an import over several lines goes up', files: { 'libs/model/src/a.ts': `import {\n  s, // why\n  t,\n} from '@isthmus/store';` }, rule: 'an import goes', says: /a\.ts:4 / },
  { name: 'an import is not listed', files: { 'libs/telemetry/src/index.ts': `import { a } from 'winston';` }, rule: 'an import goes', says: /package\.json does not list/ },
  { name: 'an app imports an app', files: { 'apps/cli/src/main.ts': `import { x } from '@isthmus/agent';` }, rule: 'an import goes', says: /imports the app/ },
  { name: 'a browser lib imports Node', files: { 'libs/model/src/a.ts': `import { readFile } from 'node:fs';` }, rule: 'what runs in a browser', says: /node:fs/ },
  { name: 'a browser lib uses a global of Node', files: { 'libs/model/src/a.ts': `export const a = Buffer.from('x');` }, rule: 'what runs in a browser', says: /Buffer/ },
  { name: 'a door is used by another lib', files: { 'libs/store/src/s.ts': `import forge from 'node-forge';` }, rule: 'a third-party package', says: /whose door is libs\/pki/ },
  { name: 'a built-in with a door is used by another lib', files: { 'libs/pki/src/index.ts': `import { DatabaseSync } from 'node:sqlite';` }, rule: 'a third-party package', says: /whose door is libs\/store/ },
  { name: 'a package without a door is used', files: { 'apps/cli/src/main.ts': `import pad from 'left-pad';` }, rule: 'a third-party package', says: /has no door/ },
  { name: 'an import reaches past exports', files: { 'libs/store/src/s.ts': `import { a } from '@isthmus/model/src/a.ts';` }, rule: 'no import reaches', says: /does not export/ },
  { name: 'a relative import leaves its package', files: { 'libs/store/src/s.ts': `import { a } from '../../model/src/a.ts';` }, rule: 'no import reaches', says: /reaches out/ },
  { name: 'an import leads nowhere', files: { 'libs/store/src/s.ts': `import { a } from './gone.ts';` }, rule: 'no import reaches', says: /not there/ },
  { name: 'a source uses a test kit', files: { 'libs/store/src/s.ts': `import { kit } from '@isthmus/pki/testing';` }, rule: 'no import reaches', says: /test kit/ },
  { name: 'files go in a circle', files: { 'libs/model/src/a.ts': `import { b } from './b.ts';`, 'libs/model/src/b.ts': `import { a } from './a.ts';` }, rule: 'files of one package', says: /a\.ts → libs\/model\/src\/b\.ts → libs\/model\/src\/a\.ts/ },
  { name: 'a drawer', files: { 'libs/model/src/utils.ts': '' }, rule: 'no file is called', says: /utils/ },
  { name: 'a folder that is a drawer', files: { 'libs/model/src/common/x.ts': '' }, rule: 'no file is called', says: /common/ },
  { name: 'a file name in camel case', files: { 'libs/model/src/spiffeId.ts': '' }, rule: 'no file is called', says: /kebab-case/ },
  { name: 'a long source without a test', files: { 'libs/pki/src/index.ts': `export * from './long.ts';`, 'libs/pki/src/long.ts': LONG }, rule: 'every source', says: /has 41 lines and no test/ },
  { name: 'a test that does not use what it stands beside', files: { 'libs/pki/src/long.ts': LONG, 'libs/pki/src/long.test.ts': `import './other.ts';`, 'libs/pki/src/other.ts': '' }, rule: 'every source', says: /does not use/ },
  { name: 'a named test that is not there', files: { 'libs/pki/src/long.ts': LONG }, coveredBy: { 'libs/pki/src/long.ts': 'libs/pki/src/gone.test.ts' }, rule: 'every source', says: /gone\.test\.ts .*not there/ },
  { name: 'a named test that does not use the source', files: { 'libs/pki/src/long.ts': LONG }, coveredBy: { 'libs/pki/src/long.ts': 'libs/store/src/s.test.ts' }, rule: 'every source', says: /does not use it/ },
  { name: 'a named test for what has one', files: { 'libs/store/src/s.ts': LONG }, coveredBy: { 'libs/store/src/s.ts': 'libs/store/src/s.test.ts' }, rule: 'every source', says: /has one beside it/ },
  { name: 'a named test for what is short', files: {}, coveredBy: { 'libs/model/src/a.ts': 'libs/store/src/s.test.ts' }, rule: 'every source', says: /short enough/ },
  { name: 'a named test for what is not there', files: {}, coveredBy: { 'libs/model/src/gone.ts': 'libs/store/src/s.test.ts' }, rule: 'every source', says: /names libs\/model\/src\/gone\.ts/ },
  { name: 'a named test for a folder that needs none', files: {}, coveredBy: { 'libs/model/src/': 'libs/store/src/s.test.ts' }, rule: 'every source', says: /names libs\/model\/src\/,/ },
  { name: 'a long main.ts', files: { 'apps/agent/src/main.ts': 'void 0;\n'.repeat(151) }, rule: 'a main.ts is short', says: /151 lines/ },
  { name: 'generated code used outside rpc', files: { 'libs/store/src/s.ts': `import { x } from './gen/x.ts';`, 'libs/store/src/gen/x.ts': '' }, rule: 'a main.ts is short', says: /generated code/ },
  { name: 'a code declared twice', files: { 'libs/pki/src/errors.ts': CATALOGUE, 'libs/store/src/errors.ts': CATALOGUE, 'docs/reference/errors.md': '| `A_LOST` | unavailable | Lost. |' }, rule: 'error codes', says: /A_LOST is declared in libs\/pki\/src\/errors\.ts and libs\/store/ },
  { name: 'a code that is not in the reference', files: { 'libs/pki/src/errors.ts': CATALOGUE }, rule: 'error codes', says: /A_LOST is not in docs/ },
  { name: 'a code that is in the reference only', files: { 'docs/reference/errors.md': '| `A_GONE` | invalid | x |' }, rule: 'error codes', says: /lists A_GONE/ },
  { name: 'a metric that is not in the reference', files: { 'libs/pki/src/index.ts': `m.counter('isthmus_x_total', 'X');` }, rule: 'error codes', says: /isthmus_x_total is not in/ },
  { name: 'a metric that is in the reference only', files: { 'docs/reference/metrics.md': '| `isthmus_gone` | gauge |  | x |' }, rule: 'error codes', says: /lists isthmus_gone/ },
  { name: 'a metric declared twice', files: { 'libs/pki/src/index.ts': `m.gauge('isthmus_x', 'X'); m.gauge('isthmus_x', 'X');`, 'docs/reference/metrics.md': '| `isthmus_x` | gauge |  | X |' }, rule: 'error codes', says: /isthmus_x is declared in/ },
  { name: 'a counter without _total', files: { 'libs/pki/src/index.ts': `m.counter('isthmus_x', 'X');` }, rule: 'error codes', says: /end in _total/ },
  { name: 'a metric without the prefix', files: { 'libs/pki/src/index.ts': `m.gauge('connections', 'X');` }, rule: 'error codes', says: /begin with isthmus_/ },
  ...['process.env', 'Date.now()', 'Math.random()', 'setTimeout(f, 1)', 'setInterval(f, 1)', 'new Date()', 'performance.now()'].map((use) => ({
    name: `${use} in a lib`,
    files: { 'libs/store/src/s.ts': `export const s = ${use};` },
    rule: 'time, chance',
    says: /take a Clock/,
  })),
  { name: 'the environment in the data plane', files: { 'libs/dataplane/package.json': aPackage('@isthmus/dataplane', 'floor:4', 'platform:node', []), 'libs/dataplane/src/index.ts': 'export const e = process.env;' }, rule: 'time, chance', says: /process\.env/ },
  ...['timeout: number', 'readonly connectTimeout?: number', 'maxSize = 3', 'interval = 5', 'ttl: number', 'age: number'].map((declaration) => ({
    name: `${declaration} without a unit`,
    files: { 'libs/store/src/s.ts': declaration.includes('=') ? `const ${declaration};` : `type S = { ${declaration} };` },
    rule: 'a number of time',
    says: /has no unit/,
  })),
  { name: 'a default export', files: { 'libs/store/src/s.ts': 'export default 1;' }, rule: 'no default exports', says: /default export/ },
  { name: 'any as a type', files: { 'libs/store/src/s.ts': 'export const s: any = 1;' }, rule: 'no default exports', says: /uses any/ },
  { name: 'any as an argument of a type', files: { 'libs/store/src/s.ts': 'export const s = new Map<string, any>();' }, rule: 'no default exports', says: /uses any/ },
  { name: 'an enum', files: { 'libs/store/src/s.ts': 'export enum Kind { A }' }, rule: 'no default exports', says: /enum/ },
  { name: 'a link that leads nowhere', files: { 'docs/x.md': 'See [it](../gone.md).' }, rule: 'documents link', says: /gone\.md, which is not there/ },
  { name: 'a document that names a file that is not there', files: { 'docs/x.md': 'See `libs/model/src/gone.ts`.' }, rule: 'documents link', says: /gone\.ts, which is not there/ },
  { name: 'a path of one machine', files: { 'libs/store/src/s.ts': `export const s = '/${'root'}/x/y';` }, rule: 'documents link', says: /one machine/ },
];

for (const { name, files, rule, says, coveredBy } of BAD) {
  test(`is caught: ${name}`, () => {
    const problems = problemsIn(files, coveredBy);
    assert.ok(problems.some((p) => p.startsWith(rule) && says.test(p)), `not caught; found:\n${problems.join('\n')}`);
  });
}

const GOOD: Readonly<Record<string, string>> = {
  'a forbidden call in a comment': '// Date.now() is what this is not\n/* process.env */',
  'a forbidden call in a string or template': 'export const s = ["Date.now()", `process.env ${`Math.random() ${1}`} setTimeout(`];',
  'code after a template with braces is still seen as code': 'export const s = `${{ a: { b: 1 } }.a.b}`;',
  'an import in a template': "export const s = `import { p } from '@isthmus/federation';`;",
  'a method of the same name': 'export const s = (socket: Socket) => socket.setTimeout(1_000);',
  'any as a word': 'export const s = "any"; // any value',
  'numbers with units': 'export type S = { timeoutMs: number; maxSizeBytes: number; size: number; attempts: number };',
};
for (const [name, text] of Object.entries(GOOD)) {
  test(`is not taken amiss: ${name}`, () => assert.deepEqual(problemsIn({ 'libs/store/src/s.ts': text }), []));
}

test('a folder may be covered by one test, if it uses each file there', () => {
  const files = { 'libs/pki/src/deep/a.ts': LONG, 'libs/pki/src/deep/b.ts': LONG, 'libs/pki/src/deep.test.ts': `import './deep/a.ts';\nimport './deep/b.ts';`, 'libs/pki/src/index.ts': `export * from './deep/a.ts';\nexport * from './deep/b.ts';` };
  const coveredBy = { 'libs/pki/src/deep/': 'libs/pki/src/deep.test.ts' };
  assert.deepEqual(problemsIn(files, coveredBy), []);
  assert.match(problemsIn({ ...files, 'libs/pki/src/deep.test.ts': `import './deep/a.ts';` }, coveredBy).join(), /b\.ts, which does not use it/);
});

test('regular expressions with quotes, slashes and classes do not confuse the reading of a source', () => {
  const { bare } = readSource(`const a = /['"\`/]/.test(x) ? 1 / 2 : 'Date.now()'; const b = x / y / z; // '\nconst c = Date.now();`);
  assert.match(bare, /const c = Date\.now\(\);/);
  assert.equal(bare.match(/Date\.now/g)?.length, 1);
  assert.equal(bare.split('\n').length, 2);
});

test('every form of import is read, with its line', () => {
  const text = `import a from 'a';\nimport * as b from "b";\nimport type { C } from 'c';\nimport 'd';\nexport { e } from 'e';\nexport * from 'f';\nconst g = await import('g');\nimport {\n  h,\n} from 'h';\nexport const from = 'i';\n`;
  assert.deepEqual(
    importsOf(readSource(text)).map((i) => `${i.specifier} ${i.line}${i.isTypeOnly ? ' type' : ''}`),
    ['a 1', 'b 2', 'c 3 type', 'd 4', 'e 5', 'f 6', 'g 7', 'h 10'],
  );
});
