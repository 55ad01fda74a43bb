// The repository as rules see it: packages, sources with their imports, and documents.
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path/posix';
import { type ImportLine, importsOf, readSource, type SourceText } from './source-text.ts';

export type Package = {
  readonly name: string;
  /** Such as `libs/store`. */
  readonly folder: string;
  readonly kind: 'lib' | 'app' | 'tool' | 'test';
  readonly floor: number | undefined;
  readonly isAnyPlatform: boolean;
  readonly dependencies: ReadonlySet<string>;
  readonly exports: Readonly<Record<string, string>>;
};

export type Source = {
  readonly path: string;
  readonly text: string;
  readonly lineCount: number;
  readonly source: SourceText;
  readonly imports: readonly ImportLine[];
  /** The package it is part of; none for the test folders that are no package. */
  readonly package: Package | undefined;
  /** Tests, test kits and what only they use. */
  readonly isTest: boolean;
  /** Made by a program. */
  readonly isGenerated: boolean;
};

export type Repository = {
  readonly sources: ReadonlyMap<string, Source>;
  readonly packages: ReadonlyMap<string, Package>;
  /** Every other text file that rules look at, such as documents. */
  readonly documents: ReadonlyMap<string, string>;
  readonly exists: (path: string) => boolean;
  /** Which test covers a source that has none beside it; a key that ends in `/` stands for all of a folder. */
  readonly coveredBy: Readonly<Record<string, string>>;
};

/** Reads what is under `root`. */
export function readRepository(root: string, coveredBy: Readonly<Record<string, string>>): Repository {
  const files = globSync(['{apps,libs,tools,tests}/**/*.{ts,json,md}', 'docs/**/*.md', '*.{md,json}', '.ci/run'], { cwd: root, exclude: ['**/node_modules/**'] });
  return makeRepository(
    new Map(files.map((file) => [file.replaceAll('\\', '/'), readFileSync(join(root, file), 'utf8')])),
    (path) => existsSync(join(root, path)),
    coveredBy,
  );
}

/** A repository out of file texts by path. */
export function makeRepository(files: ReadonlyMap<string, string>, existsOnDisk: (path: string) => boolean = () => false, coveredBy: Readonly<Record<string, string>> = {}): Repository {
  const packages = new Map<string, Package>();
  const byFolder = new Map<string, Package>();
  for (const [path, text] of files) {
    if (!/^(apps|libs|tools|tests)\/[^/]+\/package\.json$/.test(path)) continue;
    const made = toPackage(dirname(path), text);
    packages.set(made.name, made);
    byFolder.set(made.folder, made);
  }
  const sources = new Map<string, Source>();
  const documents = new Map<string, string>();
  for (const [path, text] of files) {
    if (!path.endsWith('.ts')) {
      documents.set(path, text);
      continue;
    }
    const source = readSource(text);
    sources.set(path, {
      path,
      text,
      lineCount: text.trimEnd().split('\n').length,
      source,
      imports: importsOf(source),
      package: byFolder.get(path.split('/').slice(0, 2).join('/')),
      isTest: path.startsWith('tests/') || /(\.test|\.fuzz|\.bench|\/testing|\/conformance)\.ts$/.test(path),
      isGenerated: path.includes('/src/gen/'),
    });
  }
  const known = new Set([...files.keys()]);
  return { sources, packages, documents, exists: (path) => known.has(path) || existsOnDisk(path), coveredBy };
}

function toPackage(folder: string, text: string): Package {
  const json = JSON.parse(text) as { name: string; exports?: Record<string, string>; nx?: { tags?: string[] }; dependencies?: object; devDependencies?: object };
  const floor = json.nx?.tags?.find((tag) => tag.startsWith('floor:'))?.slice('floor:'.length);
  const kinds = { libs: 'lib', apps: 'app', tools: 'tool', tests: 'test' } as const;
  return {
    name: json.name,
    folder,
    kind: kinds[folder.split('/')[0] as keyof typeof kinds],
    floor: floor === undefined ? undefined : Number(floor),
    isAnyPlatform: json.nx?.tags?.includes('platform:any') ?? false,
    dependencies: new Set([...Object.keys(json.dependencies ?? {}), ...Object.keys(json.devDependencies ?? {})]),
    exports: json.exports ?? {},
  };
}

/** The path of the source a specifier means, for relative ones and for our packages; undefined for anything else. */
export function resolveImport(repository: Repository, from: Source, specifier: string): string | undefined {
  if (specifier.startsWith('.')) return normalize(join(dirname(from.path), specifier));
  const [scope, name, ...rest] = specifier.split('/');
  const target = repository.packages.get(`${scope}/${name}`);
  const exported = target?.exports[rest.length === 0 ? '.' : `./${rest.join('/')}`];
  return target === undefined || exported === undefined ? undefined : normalize(join(target.folder, exported));
}

/** Every source that importing `path` brings in, itself included. */
export function reachableFrom(repository: Repository, path: string): ReadonlySet<string> {
  const reached = new Set<string>();
  const waiting = [path];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const source = repository.sources.get(next);
    if (source === undefined || reached.has(next)) continue;
    reached.add(next);
    for (const { specifier } of source.imports) {
      const target = resolveImport(repository, source, specifier);
      if (target !== undefined) waiting.push(target);
    }
  }
  return reached;
}
