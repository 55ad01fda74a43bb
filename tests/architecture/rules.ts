// The rules of the house. Each looks at a repository and answers with the places that break it, as sentences.
import { errorsIn, metricsIn } from '../../tools/generate/src/catalogue.ts';
import { type Package, reachableFrom, type Repository, resolveImport, type Source } from './repository.ts';

export type Rule = { readonly name: string; readonly check: (repository: Repository) => readonly string[] };

/** Third-party packages, and the package of ours that may import each; more than one only where a decision says why. */
const DOORS: Readonly<Record<string, string | readonly string[]>> = {
  typebox: 'libs/model',
  'node-forge': 'libs/pki',
  jose: 'libs/pki',
  winston: 'libs/telemetry',
  'prom-client': 'libs/telemetry',
  undici: 'libs/runtime',
  yaml: 'libs/runtime',
  '@grpc/grpc-js': 'libs/rpc',
  '@bufbuild/protobuf': 'libs/rpc',
  etcd3: 'libs/store',
  'node:sqlite': 'libs/store',
  'dns-packet': 'libs/dataplane',
  // The data path's loop, peer credentials (decision 0012), and PKCS#11 (decision 0020).
  koffi: ['libs/dataplane', 'libs/runtime', 'libs/identity'],
  esbuild: 'tools/release',
  protobufjs: 'tools/release',
  fastify: 'apps/admin-api',
  commander: 'apps/cli',
  listr2: 'apps/cli',
  'cli-table3': 'apps/cli',
  '@msgpack/msgpack': 'apps/terraform-provider',
};
const TEST_DOORS = new Set(['fast-check']);

const FORBIDDEN_NAMES = new Set(['common', 'shared', 'core', 'base', 'util', 'utils', 'helper', 'helpers', 'misc', 'manager', 'types']);

const MAX_MAIN_LINES = 150;
/** From this length on a source needs a test of its own, or a named one. */
const MAX_UNTESTED_LINES = 40;

export const RULES: readonly Rule[] = [
  { name: 'an import goes to a lower floor, and is listed in package.json', check: floors },
  { name: 'what runs in a browser imports nothing of Node', check: platforms },
  { name: 'a third-party package is imported by its owner only', check: doors },
  { name: 'no import reaches past another package’s exports, and test kits stay with tests', check: faces },
  { name: 'files of one package do not import each other in a circle', check: cycles },
  { name: 'no file is called after what it is not', check: names },
  { name: 'every source of some length has a test', check: coverage },
  { name: 'a main.ts is short, and generated code stays in rpc', check: mains },
  { name: 'error codes and metrics are declared once, and listed in docs/reference', check: catalogues },
  { name: 'time, chance and environment come in as parameters', check: ambient },
  { name: 'a number of time or size has its unit in its name', check: units },
  { name: 'no default exports, no any, no enum', check: language },
  { name: 'documents link to what is there, and nothing names the machine it was written on', check: documents },
];

function inPackages(repository: Repository): (Source & { package: Package })[] {
  return [...repository.sources.values()].filter((s): s is Source & { package: Package } => s.package !== undefined);
}

const at = (source: Source, line: number): string => `${source.path}:${line}`;

function packageOf(specifier: string): string {
  return specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/');
}

function floors(repository: Repository): string[] {
  const problems: string[] = [];
  for (const source of inPackages(repository)) {
    for (const { specifier, line } of source.imports) {
      if (specifier.startsWith('.') || specifier.startsWith('node:')) continue;
      const name = packageOf(specifier);
      const own = source.package;
      const target = repository.packages.get(name);
      if (target === own) problems.push(`${at(source, line)} imports its own package by name`);
      if (target !== undefined && own.kind === 'lib' && (target.floor === undefined || own.floor === undefined || target.floor >= own.floor)) {
        problems.push(`${at(source, line)} imports ${name}, which is not on a lower floor than ${own.name}`);
      }
      if (target?.kind === 'app' && own.kind === 'app') problems.push(`${at(source, line)} imports the app ${name}`);
      const mayGoUnlisted = (source.isTest && (TEST_DOORS.has(name) || target !== undefined)) || target === own;
      if (!mayGoUnlisted && !own.dependencies.has(name)) problems.push(`${at(source, line)} imports ${name}, which ${own.folder}/package.json does not list`);
    }
  }
  return problems;
}

function platforms(repository: Repository): string[] {
  const problems: string[] = [];
  for (const source of inPackages(repository)) {
    if (!source.package.isAnyPlatform || source.isTest) continue;
    for (const { specifier, line } of source.imports) {
      const target = repository.packages.get(packageOf(specifier));
      if (specifier.startsWith('node:') || (target !== undefined && !target.isAnyPlatform)) problems.push(`${at(source, line)} imports ${specifier}, which needs Node`);
    }
    problems.push(...found(source, /\b(?:process|Buffer|__dirname|setImmediate)\b(?=[.[(])/g, (match) => `uses ${match}, which needs Node`));
  }
  return problems;
}

function doors(repository: Repository): string[] {
  const problems: string[] = [];
  for (const source of repository.sources.values()) {
    if (source.path.startsWith('tests/')) continue;
    for (const { specifier, line } of source.imports) {
      const name = packageOf(specifier);
      const door = DOORS[specifier.startsWith('node:') ? specifier : name];
      if (specifier.startsWith('.') || repository.packages.has(name)) continue;
      const owners = typeof door === 'string' ? [door] : door;
      if (owners !== undefined && !owners.some((owner) => source.path.startsWith(`${owner}/`))) problems.push(`${at(source, line)} imports ${name}, whose door is ${owners.join(' and ')}`);
      if (owners === undefined && !specifier.startsWith('node:') && !(source.isTest && TEST_DOORS.has(name))) problems.push(`${at(source, line)} imports ${name}, which has no door`);
    }
  }
  return problems;
}

function faces(repository: Repository): string[] {
  const problems: string[] = [];
  for (const source of repository.sources.values()) {
    for (const { specifier, line } of source.imports) {
      if (specifier.startsWith('.')) {
        const target = resolveImport(repository, source, specifier) ?? '';
        const folder = source.package?.folder;
        if (folder !== undefined && source.package?.kind !== 'test' && !target.startsWith(`${folder}/`)) problems.push(`${at(source, line)} reaches out of its package to ${target}`);
        if (!repository.exists(target)) problems.push(`${at(source, line)} imports ${target}, which is not there`);
        continue;
      }
      const target = repository.packages.get(packageOf(specifier));
      if (target === undefined) continue;
      if (resolveImport(repository, source, specifier) === undefined) problems.push(`${at(source, line)} imports ${specifier}, which ${target.name} does not export`);
      const isForTests = source.isTest || source.path.startsWith('tools/') || isTestSupport(repository, source);
      if (specifier.endsWith('/testing') && !isForTests) problems.push(`${at(source, line)} imports the test kit ${specifier}`);
    }
  }
  return problems;
}

function cycles(repository: Repository): string[] {
  const problems: string[] = [];
  const done = new Set<string>();
  const walk = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) {
      problems.push(`${[...trail.slice(trail.indexOf(path)), path].join(' → ')}`);
      return;
    }
    const source = repository.sources.get(path);
    if (done.has(path) || source === undefined) return;
    for (const { specifier, isTypeOnly } of source.imports) {
      if (specifier.startsWith('.') && !isTypeOnly) walk(resolveImport(repository, source, specifier) ?? '', [...trail, path]);
    }
    done.add(path);
  };
  for (const path of repository.sources.keys()) walk(path, []);
  return problems;
}

function names(repository: Repository): string[] {
  return [...repository.sources.values()].flatMap((source) => {
    if (source.isGenerated) return [];
    const bad = source.path
      .split('/')
      .slice(1)
      .map((part) => part.replace(/(\.test|\.fuzz|\.bench)?\.ts$/, ''))
      .filter((part) => FORBIDDEN_NAMES.has(part) || /[A-Z_]/.test(part) || /(?:^|-)(?:utils?|helpers?|manager)$/.test(part));
    return bad.map((part) => `${source.path}: ${part} says nothing of what is in it, or is not in kebab-case`);
  });
}

function coverage(repository: Repository): string[] {
  const problems: string[] = [];
  const unused = new Set(Object.keys(repository.coveredBy));
  for (const source of inPackages(repository)) {
    const { path } = source;
    if (source.isTest || source.isGenerated || source.package.kind === 'test' || /\/(index|errors|metrics)\.ts$/.test(path)) continue;
    const beside = path.replace(/\.ts$/, '.test.ts');
    const exact = repository.coveredBy[path];
    const folder = Object.keys(repository.coveredBy).filter((key) => key.endsWith('/') && path.startsWith(key)).toSorted((a, b) => b.length - a.length)[0];
    const named = exact ?? (folder === undefined ? undefined : repository.coveredBy[folder]);
    const needsTest = source.lineCount > MAX_UNTESTED_LINES;
    if (exact !== undefined) unused.delete(path);
    if (repository.exists(beside)) {
      if (exact !== undefined) problems.push(`covered-by.ts names a test for ${path}, which has one beside it`);
      if (!reachableFrom(repository, beside).has(path) && !spawns(repository, beside, path)) problems.push(`${beside} does not use ${path}`);
    } else if (exact === undefined && isTestSupport(repository, source)) continue;
    else if (named === undefined) {
      if (needsTest) problems.push(`${path} has ${source.lineCount} lines and no test`);
    } else if (!needsTest) {
      if (exact !== undefined) problems.push(`covered-by.ts names a test for ${path}, which is short enough to do without`);
    } else {
      if (exact === undefined && folder !== undefined) unused.delete(folder);
      if (!repository.exists(named)) problems.push(`covered-by.ts names ${named} for ${path}, which is not there`);
      else if (!named.startsWith('tests/') && !reachableFrom(repository, named).has(path)) problems.push(`covered-by.ts names ${named} for ${path}, which does not use it`);
    }
  }
  for (const path of unused) problems.push(`covered-by.ts names ${path}, which is not there or has its own test`);
  return problems;
}

/** A test that runs a source as a process names its file. */
function spawns(repository: Repository, test: string, path: string): boolean {
  const fileName = path.split('/').at(-1) ?? '';
  return repository.sources.get(test)?.text.includes(fileName) ?? false;
}

/** A source that only tests reach: what a package exports for use does not bring it in. */
function isTestSupport(repository: Repository, source: Source): boolean {
  if (source.package?.kind !== 'lib') return false;
  const { folder, exports } = source.package;
  return !Object.entries(exports).some(([name, file]) => name !== './testing' && file.endsWith('.ts') && reachableFrom(repository, `${folder}/${file.replace(/^\.\//, '')}`).has(source.path));
}

function mains(repository: Repository): string[] {
  const problems: string[] = [];
  for (const source of repository.sources.values()) {
    if (/^apps\/[^/]+\/src\/main\.ts$/.test(source.path) && source.lineCount > MAX_MAIN_LINES) problems.push(`${source.path} has ${source.lineCount} lines; at most ${MAX_MAIN_LINES}`);
    for (const { specifier, line } of source.imports) {
      const target = resolveImport(repository, source, specifier) ?? specifier;
      if (target.includes('/gen/') && !source.path.startsWith('libs/rpc/src/')) problems.push(`${at(source, line)} imports generated code; rpc re-exports it`);
    }
  }
  return problems;
}

function catalogues(repository: Repository): string[] {
  const sources = [...repository.sources.values()].filter((s) => /^(libs|apps)\//.test(s.path) && !s.isTest);
  const errors = sources.flatMap((s) => errorsIn(s.path, s.text).map((e) => ({ name: e.code, source: e.source })));
  const metrics = sources.flatMap((s) => metricsIn(s.path, s.text));
  const problems = [...declaredOnce(errors), ...declaredOnce(metrics)];
  for (const metric of metrics) if (!metric.name.startsWith('isthmus_')) problems.push(`${metric.source} declares ${metric.name}, which does not begin with isthmus_`);
  for (const metric of metrics) if ((metric.kind === 'counter') !== metric.name.endsWith('_total')) problems.push(`${metric.source} declares the ${metric.kind} ${metric.name}; counters, and only they, end in _total`);
  problems.push(...listedEqually(repository, 'docs/reference/errors.md', /^\| `([A-Z][A-Z0-9_]+)` \|/gm, errors.map((e) => e.name)));
  problems.push(...listedEqually(repository, 'docs/reference/metrics.md', /^\| `(isthmus_\w+)` \|/gm, metrics.map((m) => m.name)));
  return problems;
}

function declaredOnce(entries: readonly { readonly name: string; readonly source: string }[]): string[] {
  return [...Map.groupBy(entries, (e) => e.name)].filter(([, places]) => places.length > 1).map(([name, places]) => `${name} is declared in ${places.map((p) => p.source).join(' and ')}`);
}

function listedEqually(repository: Repository, page: string, entry: RegExp, declared: readonly string[]): string[] {
  const text = repository.documents.get(page);
  const listed = new Set([...(text ?? '').matchAll(entry)].map((match) => match[1] ?? ''));
  const known = new Set(declared);
  return [
    ...[...known].filter((name) => !listed.has(name)).map((name) => `${name} is not in ${page}; run npm run generate`),
    ...[...listed].filter((name) => !known.has(name)).map((name) => `${page} lists ${name}, which nothing declares; run npm run generate`),
  ];
}

/**
 * Where the real clock, chance and environment are: runtime and telemetry; rpc and the data plane own sockets and their limits.
 * The CLI is a person's tool; Terraform speaks to what it starts by the environment.
 */
const AMBIENT_OWNERS = ['libs/runtime/', 'libs/telemetry/', 'apps/cli/', 'apps/terraform-provider/src/main.ts', 'tools/', 'tests/'];
const LIMITED_OWNERS = ['libs/rpc/', 'libs/dataplane/'];

function ambient(repository: Repository): string[] {
  return [...repository.sources.values()].flatMap((source) => {
    if (source.isTest || source.isGenerated || AMBIENT_OWNERS.some((owner) => source.path.startsWith(owner)) || isTestSupport(repository, source)) return [];
    const isLimited = LIMITED_OWNERS.some((owner) => source.path.startsWith(owner));
    const pattern = isLimited ? /\bprocess\.env\b|\bMath\.random\b/g : /\bprocess\.env\b|\bMath\.random\b|\bDate\.now\b|\bnew Date\(\)|(?<![.\w])set(?:Timeout|Interval)\(|\bperformance\.now\b/g;
    return found(source, pattern, (match) => `uses ${match}; take a Clock, a Random or an option`);
  });
}

/** A bare `size` is a count, as a Map's is; `maxSize` could be bytes or items. A property of somebody else's object is theirs to name. */
const UNITLESS = /(?<![.\w])(?:\w+(?:Timeout|Interval|Delay|Ttl|Duration|Size)|timeout|interval|delay|ttl|duration|age)\b\??(?:\s*:\s*number\b|\s*=\s*\d)/g;

/** Properties of other people's types. */
const FOREIGN_NAMES = /^(?:udpPayloadSize)\b/;

function units(repository: Repository): string[] {
  return [...repository.sources.values()].flatMap((source) => (source.isGenerated || source.isTest ? [] : found(source, UNITLESS, (match) => (FOREIGN_NAMES.test(match) ? '' : `${match.trim()} has no unit in its name (Ms, Seconds, Bytes, Count)`))));
}

/** Node wants a default export of a reporter. */
const DEFAULT_EXPORTS = new Set(['tools/test/src/reporter.ts']);

function language(repository: Repository): string[] {
  return [...repository.sources.values()].flatMap((source) => {
    if (source.isGenerated) return [];
    return [
      ...(DEFAULT_EXPORTS.has(source.path) ? [] : found(source, /\bexport default\b/g, () => 'has a default export')),
      ...found(source, /(?:[:<,|&(]\s*|\bas )any\b(?=\s*[>,;)|&=[\]{\n])/g, () => 'uses any'),
      ...found(source, /^\s*(?:export )?(?:const )?enum \w/gm, () => 'has an enum'),
    ];
  });
}

const MACHINE = /(?<![\w.])\/(?:work|root|home\/\w+|tmp\/brief)\//g;

function documents(repository: Repository): string[] {
  const problems: string[] = [];
  for (const [path, text] of repository.documents) {
    for (const match of text.matchAll(MACHINE)) problems.push(`${path}:${lineAt(text, match.index)} names a path of one machine`);
    if (!path.endsWith('.md')) continue;
    const folder = path.split('/').slice(0, -1).join('/');
    for (const match of text.matchAll(/\]\(([^)\s#]+)(?:#[^)]*)?\)/g)) {
      const link = match[1] ?? '';
      if (/^[a-z]+:/.test(link)) continue;
      const target = resolvePath(folder, link);
      if (!repository.exists(target) && !repository.exists(target.replace(/\/$/, ''))) problems.push(`${path}:${lineAt(text, match.index)} links to ${link}, which is not there`);
    }
    for (const match of path.startsWith('docs/') ? text.matchAll(/`((?:apps|libs|tools|tests)\/[\w./-]+\.ts)`/g) : []) {
      if (!repository.exists(match[1] ?? '')) problems.push(`${path}:${lineAt(text, match.index)} names ${match[1]}, which is not there`);
    }
  }
  for (const source of repository.sources.values()) {
    for (const match of source.path.startsWith('tests/architecture/') ? [] : source.text.matchAll(MACHINE)) problems.push(`${at(source, lineAt(source.text, match.index))} names a path of one machine`);
  }
  return problems;
}

function resolvePath(folder: string, link: string): string {
  const parts = folder === '' ? [] : folder.split('/');
  for (const step of link.split('/')) {
    if (step === '..') parts.pop();
    else if (step !== '.' && step !== '') parts.push(step);
  }
  return parts.join('/');
}

/** Each place where the pattern stands in code; nothing for those about which `say` says nothing. */
function found(source: Source, pattern: RegExp, say: (match: string) => string): string[] {
  return [...source.source.bare.matchAll(pattern)].flatMap((match) => {
    const said = say(match[0]);
    return said === '' ? [] : [`${at(source, lineAt(source.source.bare, match.index))} ${said}`];
  });
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split('\n').length;
}
