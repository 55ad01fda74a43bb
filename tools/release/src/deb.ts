// Debian packages: a tree laid out as on the host, its control files, and dpkg-deb.
import { execFile } from 'node:child_process';
import { copyFile, chmod, mkdir, mkdtemp, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Architecture, Executable } from './executable.ts';
import { maintainerScripts, type PackagePlan, type PlannedFile } from './packages.ts';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const DEBIAN_NAMES: Readonly<Record<Architecture, string>> = { x64: 'amd64', arm64: 'arm64' };

export type DebOptions = {
  readonly version: string;
  readonly executable: Executable;
  readonly noticesPath: string;
  /** Where the packages are written. */
  readonly directory: string;
  /** Time of every file in the package, so that the same source makes the same bytes. Seconds since 1970. */
  readonly epochSeconds: number;
};

/** Makes one package. Answers its path. **Throws** what dpkg-deb says. */
export async function makeDeb(plan: PackagePlan, options: DebOptions): Promise<string> {
  const tree = await mkdtemp(join(tmpdir(), 'isthmus-deb-'));
  try {
    await layOut(plan, tree, options);
    await mkdir(join(tree, 'DEBIAN'));
    await writeFile(join(tree, 'DEBIAN/control'), controlFile(plan, options, await sizeKib(tree)));
    if (plan.unit !== undefined) {
      for (const [name, text] of maintainerScripts(plan.unit)) await writeFile(join(tree, 'DEBIAN', name), text, { mode: 0o755 });
    }
    const path = join(options.directory, `${plan.name}_${options.version}_${DEBIAN_NAMES[options.executable.architecture]}.deb`);
    await run('dpkg-deb', ['--root-owner-group', '-Zgzip', '-z6', '--build', tree, path], { env: { ...process.env, SOURCE_DATE_EPOCH: String(options.epochSeconds) } });
    return path;
  } finally {
    await rm(tree, { recursive: true, force: true });
  }
}

async function layOut(plan: PackagePlan, tree: string, options: DebOptions): Promise<void> {
  await chmod(tree, 0o755);
  for (const folder of plan.folders) await mkdir(join(tree, folder), { recursive: true, mode: 0o755 });
  for (const file of plan.files) {
    const path = join(tree, file.path);
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await copyFile(sourceOf(file, options), path);
    await chmod(path, file.mode);
    await utimes(path, options.epochSeconds, options.epochSeconds);
  }
  for (const { path, to } of plan.links) {
    await mkdir(dirname(join(tree, path)), { recursive: true, mode: 0o755 });
    await symlink(to, join(tree, path));
  }
}

function sourceOf({ from }: PlannedFile, options: DebOptions): string {
  switch (from.kind) {
    case 'executable':
      return options.executable.path;
    case 'native':
      return options.executable.nativePath;
    case 'notices':
      return options.noticesPath;
    case 'repository':
      return join(ROOT, from.path);
  }
}

function controlFile(plan: PackagePlan, options: DebOptions, sizeKib: number): string {
  return `Package: ${plan.name}
Version: ${options.version}
Architecture: ${DEBIAN_NAMES[options.executable.architecture]}
Maintainer: The Isthmus developers <isthmus@localhost>
Installed-Size: ${sizeKib}
Depends: ${plan.depends.join(', ')}
${plan.suggests.length === 0 ? '' : `Suggests: ${plan.suggests.join(', ')}\n`}Section: net
Priority: optional
Description: ${plan.summary}
 ${plan.description}
`;
}

async function sizeKib(tree: string): Promise<number> {
  const { stdout } = await run('du', ['-sk', '--apparent-size', tree]);
  const size = Number.parseInt(stdout, 10);
  return Number.isNaN(size) ? Math.ceil((await stat(tree)).size / 1_024) : size;
}
