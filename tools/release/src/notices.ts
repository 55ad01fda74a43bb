// The licences that go with what is shipped: one section for each package whose code is in a bundle.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** Notices for the packages that `files` (paths below the repository) belong to. **Throws** for one without a licence. */
export async function noticesOf(files: Iterable<string>): Promise<string> {
  const folders = new Set<string>(['node_modules/koffi']);
  for (const file of files) {
    const folder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0];
    if (folder !== undefined) folders.add(folder);
  }
  const sections = await Promise.all([...folders].sort().map(sectionOf));
  return sections.join('\n');
}

async function sectionOf(folder: string): Promise<string> {
  const at = join(ROOT, folder);
  const manifest: unknown = JSON.parse(await readFile(join(at, 'package.json'), 'utf8'));
  const { name, version, license } = manifest as { readonly name?: string; readonly version?: string; readonly license?: string };
  if (license === undefined) throw new Error(`${folder}: its package.json names no licence`);
  const file = (await readdir(at)).find((entry) => /^(licen[cs]e|copying)/i.test(entry));
  const text = file === undefined ? 'The package carries no text of it.\n' : await readFile(join(at, file), 'utf8');
  return `${name} ${version} · ${license}\n${'='.repeat(60)}\n${text}`;
}
