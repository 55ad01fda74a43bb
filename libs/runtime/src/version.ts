// Which version of Isthmus this program is: told by the executable that carries it, else by the repository it runs from.
import { readFileSync } from 'node:fs';

/** Such as `0.1.0`; `unknown` where neither says. */
export function programVersion(): string {
  const built = (globalThis as { readonly isthmusVersion?: unknown }).isthmusVersion;
  if (typeof built === 'string') return built;
  try {
    const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { readonly version?: unknown };
    return typeof version === 'string' ? version : 'unknown';
  } catch {
    return 'unknown';
  }
}
