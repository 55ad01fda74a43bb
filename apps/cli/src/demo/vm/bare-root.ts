// A bare Debian that stands for a VM: only its essential packages and systemd, changed by nobody else, and gone afterwards.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@isthmus/runtime';
import { findProgram, type Finished, run } from '../run.ts';

export interface BareRoot {
  /** Where it lies on this machine. */
  readonly directory: string;
  /** Runs a command in it to its end, as root, with its own processes and this machine's network. */
  run(command: readonly string[], options?: { readonly input?: string; readonly limitMs?: number }): Promise<Finished>;
  /** Starts a command in it; killing what is answered kills all of it. */
  start(command: readonly string[]): ChildProcess;
  /** Sends a signal to the program that `start` started, and not to what holds it. */
  signal(started: ChildProcess, signal: NodeJS.Signals): void;
  remove(): void;
}

/** How systemd would start the agent: its own user, and the right to low ports. */
export const AS_AGENT = ['setpriv', '--reuid=isthmus', '--regid=isthmus', '--clear-groups', '--inh-caps=+net_bind_service', '--ambient-caps=+net_bind_service'];

/** What ours depend on, and what boots it. */
const PACKAGES = ['adduser', 'libatomic1', 'libstdc++6', 'systemd-sysv', 'dbus', 'iproute2', 'ca-certificates', 'curl', 'wget'];
/** Debian's packages change; a root is made anew after a day. */
const KEPT_MS = 86_400_000;

/** Why there can be no bare root here, or undefined. */
export function whyNoBareRoot(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root, to make a Debian of its own';
  const missing = ['mmdebstrap', 'dpkg-deb', 'unshare', 'tar'].filter((program) => findProgram(program) === undefined);
  return missing.length === 0 ? undefined : `${missing.join(', ')} not installed (apt-get install mmdebstrap dpkg util-linux tar)`;
}

/** Makes one; the packages of Debian that each begins with are kept for a day. **Throws** what mmdebstrap or tar says. */
export async function makeBareRoot(): Promise<BareRoot> {
  const kept = await keptRoot('systemd', PACKAGES);
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-bare-'));
  const unpacked = await run('tar', ['--extract', '--file', kept, '--directory', directory, '--numeric-owner', '--preserve-permissions'], { limitMs: 300_000 });
  if (unpacked.code !== 0) throw new Error(`tar: ${unpacked.stderr.slice(-2_000)}`);
  return bareRootIn(directory);
}

/** The archive that a root is unpacked from. Where two make it at once, the later one replaces the other. */
async function keptRoot(name: string, packages: readonly string[]): Promise<string> {
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'isthmus');
  const path = join(cache, `bookworm-${name}.tar`);
  const madeMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (systemClock.nowMs() - madeMs < KEPT_MS) return path;
  mkdirSync(cache, { recursive: true, mode: 0o700 });
  const draft = `${path}.${process.pid}.tar`;
  try {
    const made = await run('mmdebstrap', ['--mode=root', '--variant=essential', `--include=${packages.join(',')}`, 'bookworm', draft], { limitMs: 300_000 });
    if (made.code !== 0) throw new Error(`mmdebstrap: ${made.stderr.slice(-2_000)}`);
    renameSync(draft, path);
  } finally {
    rmSync(draft, { force: true });
  }
  return path;
}

function bareRootIn(directory: string): BareRoot {
  // Its own mounts and processes: nothing stays mounted or running once the command is over.
  const inside = (command: readonly string[]): [string, string[]] => [
    'unshare',
    ['--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && chroot "$0" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C "$@"; exit $?', directory, ...command],
  ];
  return {
    directory,
    run: (command, options = {}) => run(...inside(command), { limitMs: 120_000, ...options }),
    start: (command) => spawn(...inside(command), { stdio: ['ignore', 'pipe', 'pipe'] }),
    signal: (started, signal) => {
      const program = started.pid === undefined ? undefined : lastOf(started.pid);
      if (program !== undefined && program !== started.pid) process.kill(program, signal);
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** unshare, its shell, and the program: the end of the chain of first children (proc(5)). */
function lastOf(pid: number): number {
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  return child === undefined || child === '' ? pid : lastOf(Number(child));
}
