// The Debian packages that a VM installs: made from the sources, or those that lie ready.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { run } from '../run.ts';

const RELEASE = fileURLToPath(new URL('../../../../../tools/release/src/main.ts', import.meta.url));

/** Why no packages can be made here, or undefined. With `ready` they need not be. */
export function whyNoPackages(ready: string | undefined): string | undefined {
  return ready !== undefined || existsSync(RELEASE) ? undefined : 'packages are made from the sources; name a directory of made ones in ISTHMUS_PACKAGES';
}

/** Makes every package in `directory`, with their SHA256SUMS. **Throws** what the release tool says. */
export async function makePackages(directory: string): Promise<void> {
  const made = await run(process.execPath, [RELEASE, '--out', directory, '--only', 'deb'], { limitMs: 300_000 });
  if (made.code !== 0) throw new Error(`the packages could not be made: ${made.stderr.slice(-2_000)}`);
}
