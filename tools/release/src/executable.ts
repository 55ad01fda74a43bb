// Single executables: Node itself with the bundles inside, for this or another processor.
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Bundles } from './bundle.ts';

const run = promisify(execFile);

export const ARCHITECTURES = ['x64', 'arm64'] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

/** What goes into one directory: the executable, and koffi's native part, which belongs beside it. */
export type Executable = { readonly architecture: Architecture; readonly path: string; readonly nativePath: string };

/** Node and koffi's native part as built for one processor. */
type Platform = { readonly node: string; readonly native: string };

/** Writes `<directory>/isthmus` and `<directory>/koffi.node`. **Throws** what `npm pack` or `node --build-sea` say. */
export async function makeExecutable(bundles: Bundles, architecture: Architecture, directory: string): Promise<Executable> {
  const work = await mkdtemp(join(tmpdir(), 'isthmus-release-'));
  try {
    await mkdir(directory, { recursive: true });
    const platform = await platformFor(architecture, work);
    await writeFile(join(work, 'main.mjs'), bundles.main);
    const assets: Record<string, string> = {};
    for (const [name, text] of bundles.workers) {
      assets[name] = join(work, name);
      await writeFile(join(work, name), text);
    }
    const path = join(directory, 'isthmus');
    const recipe = { main: join(work, 'main.mjs'), mainFormat: 'module', executable: platform.node, output: path, disableExperimentalSEAWarning: true, useCodeCache: false, useSnapshot: false, assets };
    await writeFile(join(work, 'sea.json'), JSON.stringify(recipe));
    await run(process.execPath, ['--build-sea', join(work, 'sea.json')]);
    const nativePath = join(directory, 'koffi.node');
    await copyFile(platform.native, nativePath);
    return { architecture, path, nativePath };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** For this machine's processor what is installed; for another the same versions, had by name from the registry. */
async function platformFor(architecture: Architecture, work: string): Promise<Platform> {
  const nativeName = `@koromix/koffi-linux-${architecture}`;
  const nativeFile = `linux_${architecture}/koffi.node`;
  const koffi = createRequire(import.meta.url).resolve('koffi');
  if (architecture === process.arch) return { node: process.execPath, native: join(dirname(createRequire(koffi).resolve(nativeName)), nativeFile) };
  const { version } = JSON.parse(await readFile(join(dirname(koffi), 'package.json'), 'utf8')) as { readonly version: string };
  const [node, native] = await Promise.all([
    unpacked(`node-linux-${architecture}@${process.versions.node}`, join(work, 'node')),
    unpacked(`${nativeName}@${version}`, join(work, 'koffi')),
  ]);
  return { node: join(node, 'bin/node'), native: join(native, nativeFile) };
}

async function unpacked(name: string, directory: string): Promise<string> {
  await mkdir(directory);
  const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', directory, name], { cwd: directory });
  await run('tar', ['-xzf', stdout.trim(), '-C', directory], { cwd: directory });
  return join(directory, 'package');
}
