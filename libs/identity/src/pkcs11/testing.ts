// A SoftHSM of a test's own: tokens in its folder, apart from any on the machine.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const MODULES = ['/usr/lib/softhsm/libsofthsm2.so', `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu/softhsm/libsofthsm2.so`, '/usr/lib64/pkcs11/libsofthsm2.so'];

/** The library, or undefined where it is not installed. */
export const SOFTHSM = MODULES.find((path) => existsSync(path));
export const WITHOUT_SOFTHSM = SOFTHSM === undefined ? 'softhsm2 is not installed' : false;

export type SoftHsm = {
  readonly directory: string;
  /** What a process needs in its environment to see these tokens. */
  readonly env: Readonly<Record<string, string>>;
  addToken(label: string, pin: string): void;
  /** Runs softhsm2-util on them. */
  util(...args: readonly string[]): string;
};

/** Tokens under `directory`. The library reads SOFTHSM2_CONF once, so a test process has one of these. */
export async function makeSoftHsm(directory: string): Promise<SoftHsm> {
  const tokens = join(directory, 'tokens');
  await mkdir(tokens, { recursive: true });
  await chmod(tokens, 0o700);
  const config = join(directory, 'softhsm2.conf');
  await writeFile(config, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  const env = { SOFTHSM2_CONF: config };
  const util = (...args: readonly string[]): string => execFileSync('softhsm2-util', args, { env: { ...process.env, ...env }, encoding: 'utf8' });
  return { directory, env, util, addToken: (label, pin) => void util('--init-token', '--free', '--label', label, '--so-pin', '87654321', '--pin', pin) };
}
